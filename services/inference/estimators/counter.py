"""Counted charge of a device with everything that makes it uncertain. Pure, O(1) a sample."""

import math
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from services.inference.estimators.quantity import Kept

GAP_S: Final = 120.0  # no reading for longer: nobody knows what flowed
RMS_S: Final = 3600.0  # over about so long the typical current is remembered
GAIN: Final = 0.001
"""Of the charge that went through: what a current sensor's gain differs between the two directions, and what a cell
does not give back (coulombic efficiency 99.9 %; Smith et al., J. Electrochem. Soc. 157 (2010) A196)."""


class Count(NamedTuple):
    """The counter at one moment; what matters is the difference between two."""

    t: float  # s
    ah: float  # less the offset as it was known then
    offset_ah: float  # standard error of that, by the offset: it does not average out
    variance: float  # Ah2, of sampling and holes
    through: float  # Ah moved, either way
    gaps: int


class Passed(NamedTuple):
    """Charge between two moments, and its standard error [Ah]."""

    ah: float
    error: float
    hours: float
    through: float
    whole: bool  # no gap in between


def passed(before: Count, now: Count) -> Passed:
    """What was counted from one moment to another."""
    through = now.through - before.through
    error = math.sqrt(
        (now.offset_ah - before.offset_ah) ** 2 + max(now.variance - before.variance, 0.0) + (GAIN * through / 2) ** 2
    )
    return Passed(now.ah - before.ah, error, (now.t - before.t) / 3600, through, now.gaps == before.gaps)


@dataclass(slots=True)
class Counter(Kept):
    """Integrates current by trapezoids. A hole widens the error by the typical current over its length."""

    KEPT: ClassVar = ("t", "ah", "offset_ah", "variance", "through", "gaps", "power", "peak", "last", "last_t")
    t: float = 0.0
    ah: float = 0.0
    offset_ah: float = 0.0
    variance: float = 0.0
    through: float = 0.0
    gaps: int = 0
    power: float = 0.0  # mean square of the current [A2]
    peak: float = 0.0  # greatest magnitude so far [A]: the scale of a device whose capacity nobody has told
    last: float | None = None
    last_t: float = 0.0

    def take(self, t: float, current: float | None, offset_error: float) -> bool:
        """Take one sample's current (less the offset; None = no good reading); return whether a gap has ended here."""
        self.t = t
        if current is None:
            return False
        if self.last is None:
            self.last, self.last_t = current, t
            self.peak = abs(current)
            return False
        dt, before = t - self.last_t, self.last
        self.last, self.last_t = current, t
        magnitude = abs(current)
        if magnitude > self.peak:
            self.peak = magnitude
        if dt > GAP_S:
            self.gaps += 1
            self.variance += self.power * (dt / 3600) ** 2
            return True
        hours = dt / 3600
        charge = (before + current) / 2 * hours
        self.ah += charge
        self.through += abs(charge)
        self.offset_ah += offset_error * hours
        step = (current - before) * hours
        self.variance += step * step / 12  # when in between it changed: anywhere
        self.power += (current * current - self.power) * min(dt / RMS_S, 1.0)
        return False

    def lose(self) -> None:
        """Time itself is unknown here (the sensor began anew and its clock was not set)."""
        self.gaps += 1
        self.variance += self.power  # as of an hour
        self.last = None

    @property
    def count(self) -> Count:
        return Count(self.t, self.ah, self.offset_ah, self.variance, self.through, self.gaps)
