"""A value with its standard error, and what the estimators share. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple


class Quantity(NamedTuple):
    """An estimate and its standard error, in the same unit."""

    value: float
    error: float


class Kept:
    """An estimator whose state is its fields named in KEPT: numbers, None, and lists of them (JSON-able)."""

    __slots__ = ()
    KEPT: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Any]:
        return {name: _copy(getattr(self, name)) for name in self.KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`. Raises KeyError when it is another version's."""
        for name in self.KEPT:
            setattr(self, name, _copy(state[name]))


def _copy(value: Any) -> Any:
    return [_copy(v) for v in value] if isinstance(value, list) else value


@dataclass(slots=True)
class Walk(Kept):
    """A quantity that wanders slowly, from readings with errors (scalar Kalman filter of a random walk).

    Args:
        step: how much it may change from reading to reading (standard deviation).
        jump: a reading that differs by more than so many standard deviations is a change, and is taken as it is:
            averaging would hide a fault that has just begun.
    """

    KEPT: ClassVar = ("value", "variance", "count")
    step: float
    jump: float = 4.0
    value: float | None = None
    variance: float = 0.0
    count: int = 0

    def take(self, reading: float, error: float) -> None:
        self.count += 1
        if self.value is None:
            self.value, self.variance = reading, error**2
            return
        variance = self.variance + self.step**2
        difference, total = reading - self.value, variance + error**2
        if difference**2 > self.jump**2 * total:
            self.value, self.variance = reading, error**2
            return
        gain = variance / total
        self.value += gain * difference
        self.variance = (1 - gain) * variance

    @property
    def quantity(self) -> Quantity | None:
        return None if self.value is None else Quantity(self.value, math.sqrt(self.variance))


def median(values: Sequence[float]) -> float:
    """Middle value of at least one."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def mad(values: Sequence[float]) -> float:
    """Standard deviation by the median absolute deviation: half of the values may be wild."""
    middle = median(values)
    return 1.4826 * median([abs(v - middle) for v in values])
