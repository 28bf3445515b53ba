"""dT/dt: slope of the hottest probe's temperature over about the last minute, with its standard error. Pure.

A straight line by least squares whose weights fall by e in TIME_S; O(1) a sample.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept, Quantity

TIME_S: Final = 30.0
LEAST: Final = 5  # readings
LEAST_SPREAD_S: Final = 2.0  # standard deviation of the readings' times: closer ones have no slope
QUANTUM: Final = 0.0625  # K, of a DS18B20; a coarser probe shows itself in the scatter


@dataclass(slots=True)
class Heating(Kept):
    """Sums over readings (t, T), with time counted back from the last one."""

    KEPT: ClassVar = ("t", "weight", "st", "stt", "sy", "sty", "syy", "origin", "n")
    t: float = 0.0
    weight: float = 0.0
    st: float = 0.0
    stt: float = 0.0
    sy: float = 0.0
    sty: float = 0.0
    syy: float = 0.0
    origin: float = 0.0  # T is counted from here, so that squares stay small
    n: int = 0

    def take(self, t: float, temperature: float | None) -> None:
        """Take one good reading [degC]; None = there is none in this sample."""
        if temperature is None:
            return
        dt = t - self.t
        if self.n == 0 or dt > 10 * TIME_S:  # nothing of before counts any more
            self.weight = self.st = self.stt = self.sy = self.sty = self.syy = 0.0
            self.n, self.origin, self.t = 1, temperature, t
            self.weight = 1.0
            return
        y = temperature - self.origin
        self.t = t
        # all earlier times move back by dt
        self.stt += dt * (dt * self.weight - 2 * self.st)
        self.sty -= dt * self.sy
        self.st -= dt * self.weight
        fade = math.exp(-dt / TIME_S)
        self.weight = fade * self.weight + 1.0
        self.st *= fade
        self.stt *= fade
        self.sy = fade * self.sy + y
        self.sty *= fade
        self.syy = fade * self.syy + y * y
        self.n += 1

    def quantity(self, t: float) -> Quantity | None:
        """Rate of change [K/s]; None when there are too few readings in the last minutes."""
        if self.n < LEAST or t - self.t > 3 * TIME_S:
            return None
        det = self.weight * self.stt - self.st**2
        if self.weight < 2.0 or det < (LEAST_SPREAD_S * self.weight) ** 2:
            return None
        slope = (self.weight * self.sty - self.st * self.sy) / det
        level = (self.sy - slope * self.st) / self.weight
        squares = max(self.syy - level * self.sy - slope * self.sty, 0.0)
        scatter = squares / max(self.weight - 2.0, 1.0) + QUANTUM**2 / 12
        return Quantity(slope, math.sqrt(scatter * self.weight / det))
