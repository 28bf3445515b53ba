"""What the current sensor shows when no current flows, learned at rest. Pure.

An internal leak does not pass the sensor, so learning the offset hides none. A standing load that does pass it and is
smaller than the sensor's own offset may be taken for it: then the device discharges while nothing is counted, and the
charge balance shows that as a leak (leak.py).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept, Quantity

BLOCK_S: Final = 300.0
SETTLE_S: Final = 120.0  # of a rest, before its current is looked at
DRIFT: Final = 0.2  # of `largest`, in a day: temperature
FLOOR: Final = 0.02  # of `largest`: no mean of a block is better


@dataclass(slots=True)
class Offset(Kept):
    """Zero-current offset [A].

    Args:
        largest: that the sensor may have, by its data sheet [A]; a rest that shows more is under load.
    """

    KEPT: ClassVar = ("value", "variance", "learned_t", "start", "n", "mean", "squares")
    largest: float
    value: float = 0.0
    variance: float = -1.0  # below 0: nothing learned
    learned_t: float = 0.0
    start: float | None = None  # of the block in hand
    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def take(self, t: float, current: float, rest_s: float) -> None:
        """Take the raw current of one sample, in a rest that has lasted `rest_s`."""
        if rest_s < SETTLE_S:
            self.start = None
            return
        if self.start is None:
            self.start, self.n, self.mean, self.squares = t, 0, 0.0, 0.0
        self.n += 1
        difference = current - self.mean
        self.mean += difference / self.n
        self.squares += difference * (current - self.mean)
        if t - self.start >= BLOCK_S:
            self._learn(t)
            self.start = None

    def _learn(self, t: float) -> None:
        spread = self.squares / self.n
        if self.n < 3 or abs(self.mean) > self.largest or spread > self.largest**2:
            return
        error = spread / self.n + (FLOOR * self.largest) ** 2
        before = self.squared_error(t)
        gain = before / (before + error)
        self.value += gain * (self.mean - self.value)
        self.variance, self.learned_t = (1 - gain) * before, t

    def squared_error(self, t: float) -> float:
        """Of the offset as it is known now [A2]: it drifts from when it was learned."""
        worst = (self.largest / 2) ** 2
        if self.variance < 0:
            return worst
        days = max(t - self.learned_t, 0.0) / 86_400
        return min(self.variance + (DRIFT * self.largest) ** 2 * days, worst)

    def error(self, t: float) -> float:
        return math.sqrt(self.squared_error(t))

    def quantity(self, t: float) -> Quantity | None:
        """The offset; None before a rest has shown it."""
        return None if self.variance < 0 else Quantity(self.value, self.error(t))
