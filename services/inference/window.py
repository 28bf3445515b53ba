"""Steps -> windows of a bundle. Pure: no clock, no I/O."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.inference.reduce import Checkpoint, Reducer, Step

Array = NDArray[np.float32]
CHECKPOINT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class WindowSteps:
    """What a bundle judges.

    values: (window, channels), physical units, held where not measured.
    mask: the same shape, 1 = measured, 0 = held.
    """

    values: Array
    mask: Array
    first: int  # seq of the first sample in it
    last: int  # seq of the last
    holes: int  # steps in which a column was held


@dataclass(frozen=True, slots=True)
class Domain:
    """What a bundle for cells was trained on: lowest and highest value of each column, in charge and in discharge."""

    phase: int  # column
    charge: tuple[Array, Array]
    discharge: tuple[Array, Array]

    def holds(self, values: Array) -> bool:
        """Whether a window (steps, columns), which lies in one phase, is inside."""
        low, high = self.charge if values[0, self.phase] > 0 else self.discharge
        return bool(((values >= low) & (values <= high)).all())


class Windows:
    """Windows of `length` steps, one each `stride` <= `length` steps, never over the end of a segment.

    A window with more than `holes_max` held steps, or outside of `domain`, is passed over. Windows begin at steps 0,
    stride, .. of their segment, so where they begin does not depend on when the service was started.
    """

    def __init__(self, length: int, stride: int, holes_max: int, domain: Domain | None = None) -> None:
        self._length, self._stride, self._holes_max, self._domain = length, stride, holes_max, domain
        self._steps: deque[Step] = deque(maxlen=length)
        self._holes: deque[bool] = deque(maxlen=length)
        self._openings: deque[Checkpoint] = deque()  # from the first step of the next window on
        self.passed_over = 0
        self.out_of_domain = 0  # of these

    def add(self, step: Step) -> WindowSteps | None:
        """Take the next step; return the window that it completes, if any."""
        if step.number == 0:
            self._steps.clear()
            self._holes.clear()
            self._openings.clear()
        self._steps.append(step)
        self._holes.append(not all(step.measured))
        self._openings.append(step.opening)
        beyond = step.number + 1 - self._length
        if beyond < 0 or beyond % self._stride or len(self._steps) < self._length:
            return None
        for _ in range(self._stride):
            self._openings.popleft()
        holes = sum(self._holes)
        if holes > self._holes_max:
            self.passed_over += 1
            return None
        values = np.array([s.values for s in self._steps], dtype=np.float32)
        if self._domain is not None and not self._domain.holds(values):
            self.passed_over += 1
            self.out_of_domain += 1
            return None
        return WindowSteps(
            values,
            np.array([s.measured for s in self._steps], dtype=np.float32),
            self._steps[0].opening.seq,
            step.last,
            holes,
        )

    def resume(self, reducer: Reducer) -> dict[str, Any]:
        """From where samples are needed again after a restart for the next window to come out the same (JSON)."""
        of_segment = self._openings and reducer.opening.number  # else those kept are of a segment that has ended
        opening = self._openings[0] if of_segment else reducer.opening
        return {"version": CHECKPOINT_VERSION} | opening.as_dict()


def checkpoint(state: dict[str, Any]) -> Checkpoint | None:
    """Read what `Windows.resume` wrote; None when another version of this program wrote it."""
    fields = dict(state)
    if fields.pop("version", None) != CHECKPOINT_VERSION:
        return None
    try:
        return Checkpoint.from_dict(fields)
    except (KeyError, TypeError):
        return None
