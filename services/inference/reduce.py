"""Samples of any rate -> steps of a bundle's step time, by data time. Pure: the same samples give the same steps.

The grid is absolute: step k spans k * step_s <= mono < (k + 1) * step_s. Samples faster than a step are averaged (or
the last is taken); a sample slower than a step (a 30 s recording, a 10 s bundle) holds for its own period, so every
device is judged on one time scale. A sample of a resting device holds for as long as it announced, and counts as often
as it would have come otherwise, so that the rest before a load weighs what it lasted. What no sample covers is a hole:
the last value is held and masked. A hole longer than the allowance, in any column, ends the segment; the next begins
where all columns have a value. Charge is counted from the beginning of the segment, by the sample, with the current
held until the next (left rule). A bundle with columns of a phase (services/inference/phase.py) gets steps of phases
alone: each is a segment, rests are none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.inference.channels import ChannelSpec, PhaseReader
from services.inference.phase import Cell, Phases

SECONDS_PER_HOUR = 3600.0
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that the reducer knows where a step opens; with the samples from `seq` on, everything can be repeated."""

    seq: int  # first sample that is still needed
    number: int  # position of the step in its segment; 0 = the segment has not begun
    step: int  # position on the grid
    time: float | None  # mono of the sample before it [s]; None = there was none
    charge: float  # Ah since the segment began, at `time`
    held: tuple[float | None, ...]
    seen: tuple[float | None, ...]  # when each column was last measured [s]; None = never
    phase: tuple[Any, ...] | None = None  # Phases.state
    next_s: float | None = None  # what that sample announced; None = the layout's period

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Checkpoint":
        """Raises KeyError or TypeError when the fields are not those of a checkpoint."""
        phase = fields.get("phase")
        tuples = {"held": tuple(fields["held"]), "seen": tuple(fields["seen"])}
        return cls(**(fields | tuples | {"phase": None if phase is None else tuple(phase)}))


@dataclass(frozen=True, slots=True)
class Step:
    """One closed step of a segment."""

    number: int  # 0, 1, 2, .. in its segment
    values: list[float]  # one a column, physical units
    measured: list[bool]  # False: held
    last: int  # seq of the last sample up to its end
    opening: Checkpoint


class Reducer:
    """Reduces one device's samples of one boot.

    Args:
        specs: the bundle's columns.
        step_s: step time [s].
        period_s: expected time between samples, from the layout [s].
        hole_max: longest hole, in steps.
        cell: needed when a column is one of a phase.
    Raises:
        ValueError: it is needed and not given, or of a chemistry that the bundle does not know.
    """

    def __init__(
        self,
        specs: Sequence[ChannelSpec],
        step_s: float,
        period_s: float,
        hole_max: int,
        cell: Cell | None = None,
    ) -> None:
        self._next_s: float | None = None
        self._stood = NEVER  # until when the last sample has been counted
        self._take_last = [spec.reduce == "last" for spec in specs]
        self._charge_column = next((i for i, spec in enumerate(specs) if spec.derived == "charge"), None)
        self._current_column = next((i for i, spec in enumerate(specs) if spec.name == "current"), None)
        self._voltage_column = next((i for i, spec in enumerate(specs) if spec.name == "voltage"), None)
        self._columns = [i for i, spec in enumerate(specs) if not spec.derived]
        self._of_phase = [spec.of_phase for spec in specs]
        self._counted_columns = [i for i, spec in enumerate(specs) if spec.derived]
        self._phases: Phases | None = None
        if any(self._of_phase):
            if cell is None:
                raise ValueError("the settings do not say what cell it is (capacity, chemistry)")
            self._phase_reader = PhaseReader(specs, cell)
            self._phases = Phases(cell, step_s, self._phase_reader.seconds)
        self._step_s, self._period_s = step_s, period_s
        self._patience_s = hole_max * step_s + period_s
        width = len(specs)
        self.restore(Checkpoint(0, 0, 0, None, 0.0, (None,) * width, (None,) * width))

    def restore(self, opening: Checkpoint) -> None:
        """Go (back) to where a step opened."""
        self.opening = opening
        self._number, self._step = opening.number, opening.step
        self._time, self._charge = opening.time, opening.charge
        self._next_s = opening.next_s
        self._stood = NEVER if opening.time is None else opening.time + self._period_s
        self._held = list(opening.held)
        self._seen = [NEVER if seen is None else seen for seen in opening.seen]
        self._seq = opening.seq - 1
        if self._phases is not None:
            if opening.phase is None:
                self._phases.reset()
            else:
                self._phases.restore(opening.phase)
        self._sum = [0.0] * len(self._held)
        self._count = [0] * len(self._held)

    def add(self, seq: int, mono: float, row: Sequence[float | None], next_s: float | None = None) -> list[Step]:
        """Take the next sample (seq ascending); return the steps that it closed, mostly none.

        Args:
            next_s: what a sample of a resting device says of when the next follows [s].
        """
        closed: list[Step] = []
        before = self._time
        if before is None or mono < before - self._step_s:  # far back: not one clock, so not one segment
            self._begin(seq, int(mono // self._step_s))
        else:
            mono = max(mono, before)
            step = int(mono // self._step_s)
            if step > self._step:
                self._close(closed)
                if mono - before > self._patience_s + (self._next_s or 0.0):
                    self._begin(seq, step)
                while self._step < step:
                    self._close(closed)
            if self._time is not None:
                self._stand(mono)
                self._charge = self._charge_at(mono)
        self._time, self._seq = mono, seq
        self._next_s, self._stood = next_s, mono + self._period_s
        held, seen, total, count, take_last = self._held, self._seen, self._sum, self._count, self._take_last
        for i in self._columns:
            value = row[i]
            if value is not None:
                held[i], seen[i] = value, mono
                if count[i] and not take_last[i]:
                    total[i] += value
                    count[i] += 1
                else:
                    total[i], count[i] = value, 1
        return closed

    def _stand(self, until: float) -> None:
        """A sample of a resting device counts once more for each period that it has stood in the open step."""
        if self._next_s is None or self._time is None:
            return
        self._stood = max(self._stood, self._step * self._step_s)
        times = int((min(until, self._time + self._next_s) - self._stood) / self._period_s + 1e-6)
        if times < 1:
            return
        self._stood += times * self._period_s
        for i in self._columns:
            held = self._held[i]
            if held is not None and self._seen[i] == self._time:
                if self._take_last[i]:
                    self._sum[i], self._count[i] = held, 1
                else:
                    self._sum[i] += times * held
                    self._count[i] += times

    def _begin(self, seq: int, step: int) -> None:
        """Forget everything: a segment may begin with this step."""
        none: tuple[None, ...] = (None,) * len(self._held)
        self.restore(Checkpoint(seq, 0, step, None, 0.0, none, none))

    def _close(self, closed: list[Step]) -> None:
        """Close the open step and open the next."""
        start = self._step * self._step_s
        self._stand(start + self._step_s)
        counted = self._charge_at(start + self._step_s)
        values: list[float] = []
        measured: list[bool] = []
        alive = True
        for i, held in enumerate(self._held):
            if i == self._charge_column:
                values.append(counted)
                measured.append(True)
            elif self._of_phase[i]:
                values.append(0.0)
                measured.append(True)
            elif self._count[i]:
                values.append(self._sum[i] / self._count[i])
                measured.append(True)
            elif held is None or start - self._seen[i] > self._patience_s + (self._next_s or 0.0):
                alive = False
                break
            else:
                values.append(held)
                measured.append(start < self._seen[i] + self._period_s)
        if not alive:
            self._begin(self._seq + 1, self._step + 1)
            return
        if self._current_column is not None:
            for i in self._counted_columns:
                measured[i] = measured[self._current_column]
        self._emit(closed, values, measured, counted)
        self._step += 1
        self._sum = [0.0] * len(self._held)
        self._count = [0] * len(self._held)
        self.opening = Checkpoint(
            self._seq + 1,
            self._number,
            self._step,
            self._time,
            self._charge,
            tuple(self._held),
            tuple(None if seen == NEVER else seen for seen in self._seen),
            None if self._phases is None else self._phases.state(),
            self._next_s,
        )

    def _emit(self, closed: list[Step], values: list[float], measured: list[bool], counted: float) -> None:
        """A step of its segment, or, when the bundle judges phases, of its phase; a rest gives none."""
        if self._phases is not None:
            voltage, current = values[self._voltage_column or 0], values[self._current_column or 0]
            phase = self._phases.add(voltage, current, counted)
            if phase is None:
                self._number = 0
                return
            self._phase_reader.fill(values, phase)
            self._number = phase.number
        closed.append(Step(self._number, values, measured, self._seq, self.opening))
        self._number += 1

    def _charge_at(self, end: float) -> float:
        """Ah at `end` when the current stays as it is."""
        current = None if self._current_column is None else self._held[self._current_column]
        return self._charge + (current or 0.0) * (end - (self._time or 0.0)) / SECONDS_PER_HOUR
