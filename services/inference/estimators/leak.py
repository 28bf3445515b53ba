"""Leak current by charge balance over a closed cycle. Pure.

    leak = (Ah in - Ah out - capacity x (SoC after - SoC before)) / hours

between two states of known charge that are alike (two ends of a full charge, two rests at the same voltage), so that
what tables and chargers are off by cancels. What is missing has bypassed the current sensor: an internal short, or a
load that it does not see. A cycle with a gap in its data is none.

A healthy device does not read zero (coulombic efficiency, the sensor's two directions). Its first closed cycles are
taken as its bias, but only up to BIAS_MAX: a leak that was there from the beginning stays visible.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Final

from services.inference.estimators.chemistry import Chemistry
from services.inference.estimators.counter import passed
from services.inference.estimators.quantity import Kept, Quantity, Walk, mad, median
from services.inference.estimators.state import CLOSED, Anchor, difference

SHORTEST_H: Final = 0.5  # of a cycle
LEARN: Final = 5  # cycles, known well enough, of which the median is the bias
BIAS_MAX: Final = 1 / 1000
"""Of the capacity [1/h]: twice what a coulombic efficiency of 99.9 % makes in a cycle of two hours."""
BIAS_UNKNOWN: Final = 1 / 2000  # standard error before it is learned [1/h]
CHANGE: Final = 1 / 5000  # of the capacity [1/h], from cycle to cycle


@dataclass(slots=True)
class Leak(Kept):
    """Leak current [A], positive = charge disappears.

    Args:
        told: bias of this device, measured when it was healthy [A]; None = learned from its first closed cycles.
    """

    KEPT: ClassVar = ("readings", "bias", "bias_error", "cycles", "until_full", "until_rest")
    told: float | None = None
    walk: Walk = field(init=False)
    readings: list[float] = field(default_factory=list)  # of the first cycles [A]
    bias: float = 0.0
    bias_error: float | None = None  # None: not learned
    cycles: int = 0
    until_full: float = 0.0  # ends of the last cycles between full charges, and between rests: what was judged
    until_rest: float = 0.0  # once is not judged again

    def __post_init__(self) -> None:
        self.walk = Walk(step=0.0)
        if self.told is not None:
            self.bias, self.bias_error = self.told, 0.0

    def take(self, before: Anchor, after: Anchor, chemistry: Chemistry, capacity: Quantity) -> bool:
        """Judge the cycle from one anchor to another; return whether it was a closed one."""
        since = passed(before.at, after.at)
        change, error = difference(before, after, chemistry)
        alike = before.kind == after.kind != "empty" and abs(change) <= CLOSED
        until = self.until_full if after.kind == "full" else self.until_rest
        if not alike or not since.whole or since.hours < SHORTEST_H or before.at.t < until:
            return False
        reading = (since.ah - capacity.value * change) / since.hours
        whole = math.hypot(since.error, capacity.value * error, capacity.error * change) / since.hours
        self.walk.step = CHANGE * capacity.value
        self.walk.take(reading, whole)
        self.cycles += 1
        if after.kind == "full":
            self.until_full = after.at.t
        else:
            self.until_rest = after.at.t
        if self.told is None and self.bias_error is None and whole <= BIAS_MAX * capacity.value:
            self._calibrate(reading, capacity.value)
        return True

    def _calibrate(self, reading: float, capacity: float) -> None:
        self.readings.append(reading)
        if len(self.readings) < LEARN:
            return
        most = BIAS_MAX * capacity
        self.bias = min(max(median(self.readings), -most), most)
        self.bias_error = min(1.25 * mad(self.readings) / math.sqrt(LEARN), most)  # of a median, as bounded as it is
        self.readings = []

    @property
    def lost(self) -> Quantity | None:
        """What disappears beside what is counted [A], bias and all: for those who count charge."""
        return self.walk.quantity

    def quantity(self, capacity: float) -> Quantity | None:
        """The leak less the bias; None before a cycle has closed."""
        known = self.walk.quantity
        if known is None:
            return None
        bias = BIAS_UNKNOWN * capacity if self.bias_error is None else self.bias_error
        return Quantity(known.value - self.bias, math.hypot(known.error, bias))
