"""Readings that may be wrong. There is no spike filter: a real runaway went from 29 to 109 degC in one second, and the
probe may die with it. So a suspect reading beyond a limit raises after one period, unless a good one contradicts it."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from services.bus.messages import SampleId

JITTER: Final = 0.5  # a reading this part of a period later counts as one period later


class Trust(Enum):
    """What a reading is worth. MISSING: null, or rejected by evidence of a fault."""

    GOOD = auto()
    SUSPECT = auto()
    MISSING = auto()


class Verdict(Enum):
    JUDGE = auto()  # a good reading: the condition decides
    HOLD = auto()  # nothing may be concluded yet
    CONFIRMED = auto()  # the pending suspect reading was real: raise


def trust(value: float | None, quality: str | None) -> Trust:
    """Rate a reading by its value and the sensor's mark."""
    if value is None or (quality is not None and quality.startswith("fault:")):
        return Trust.MISSING
    return Trust.GOOD if quality is None or quality == "estimated" else Trust.SUSPECT


@dataclass(slots=True)
class Pending:
    """A suspect reading beyond its limit that waits for the next one."""

    t: float
    value: float
    quality: str
    time: float  # of the sample [s since 1970]
    sample: SampleId
    doubted: bool = False  # a suspect reading inside the limit came since


@dataclass(slots=True)
class Suspicion:
    """Decides about suspect readings of one channel against one limit.

    | next reading | verdict |
    |---|---|
    | good, not beyond | contradicted: forget it |
    | good or suspect, beyond | confirmed |
    | none, a fault, or silence for `silence_s` | confirmed |
    | suspect, not beyond | neither: the one after decides, and only a good one contradicts |
    """

    period_s: float
    silence_s: float
    pending: Pending | None = None

    def take(self, t: float, kind: Trust, beyond: bool | None, reading: Pending | None) -> Verdict:
        """Take one reading at `t` [s]; `reading` is what to keep if it is suspect and beyond."""
        waiting = self.pending
        if waiting is None:
            if kind is Trust.SUSPECT and beyond:
                self.pending = reading
            return Verdict.JUDGE if kind is Trust.GOOD else Verdict.HOLD
        if self.silent(t):
            return Verdict.CONFIRMED
        if kind is Trust.GOOD:
            if beyond:
                return Verdict.CONFIRMED
            self.pending = None
            return Verdict.JUDGE
        if kind is Trust.MISSING:
            return Verdict.CONFIRMED
        if t - waiting.t < JITTER * self.period_s:
            return Verdict.HOLD
        if beyond or waiting.doubted:
            return Verdict.CONFIRMED
        waiting.doubted = True
        return Verdict.HOLD

    def silent(self, t: float) -> bool:
        """Whether nothing came for so long that the pending reading counts as confirmed."""
        return self.pending is not None and t - self.pending.t > self.silence_s

    def settle(self) -> Pending:
        """Take the confirmed reading out."""
        pending, self.pending = self.pending, None
        if pending is None:
            raise ValueError("no suspect reading is pending")
        return pending
