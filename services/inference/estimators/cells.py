"""Resistance of the worst cell against the middle one, by how their voltages move with the current. Pure.

    R of a cell over R of the middle one = 1 + cov(V of the cell - V of the middle one, I) / cov(V of the middle one, I)

with slow changes of each taken out, so it needs no step and no voltage that was read at the very moment of the current
(a BMS reads its cells one after another). Temperature, state of charge and polarisation are shared by the cells of one
device and cancel. It shows a joint that goes bad, or a cell that ages before the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept, Quantity, median

SLOW_S: Final = 300.0  # slower changes are of charge, not of resistance
MEMORY_S: Final = 3600.0  # of time under changing current
TOGETHER_S: Final = 30.0  # deviations closer in time are not independent
LEAST_S: Final = 600.0
LEAST_CELLS: Final = 4


@dataclass(slots=True)
class Cells(Kept):
    """Running covariances. Time counts while the current is away from its mean by more than a tenth of the capacity."""

    KEPT: ClassVar = ("t", "current", "middle", "means", "products", "base", "squares", "residual", "learned_s")
    t: float | None = None
    current: float = 0.0  # slow mean [A]
    middle: float = 0.0  # of the middle cell [V]
    means: list[float] = field(default_factory=list)  # of each cell less the middle one [V]
    products: list[float] = field(default_factory=list)  # cov(cell less middle, current) [V A]
    base: float = 0.0  # cov(middle, current)
    squares: float = 0.0  # var(current)
    residual: float = 0.0  # variance of the deviations that current does not explain [V2]
    learned_s: float = 0.0

    def take(self, t: float, current: float, cells: Sequence[float], least: float) -> None:
        """Take one sample in which every cell has a good voltage; `least` [A] is a current that tells something."""
        if len(cells) < LEAST_CELLS:
            return
        middle = median(cells)
        dt = 0.0 if self.t is None else t - self.t
        if self.t is None or len(cells) != len(self.means) or dt > SLOW_S:
            self.current, self.middle = current, middle
            if len(cells) != len(self.means):
                self.products, self.learned_s = [0.0] * len(cells), 0.0
                self.base = self.squares = self.residual = 0.0
            self.means = [v - middle for v in cells]
            self.t = t
            return
        self.t = t
        slow = dt / SLOW_S
        self.current += slow * (current - self.current)
        self.middle += slow * (middle - self.middle)
        away = current - self.current
        self.means = [m + slow * (v - middle - m) for m, v in zip(self.means, cells, strict=True)]
        if abs(away) < least:
            return
        self.learned_s = min(self.learned_s + dt, MEMORY_S)
        share = dt / self.learned_s if self.learned_s else 0.0
        moved = [v - middle - m for m, v in zip(self.means, cells, strict=True)]
        self.products = [p + share * (away * d - p) for p, d in zip(self.products, moved, strict=True)]
        self.base += share * (away * (middle - self.middle) - self.base)
        self.squares += share * (away * away - self.squares)
        gain = away / self.squares if self.squares else 0.0
        miss = sum((d - p * gain) ** 2 for p, d in zip(self.products, moved, strict=True)) / len(moved)
        self.residual += share * (miss - self.residual)

    @property
    def ratio(self) -> Quantity | None:
        """Worst cell over the middle one; 1 = all alike."""
        if self.learned_s < LEAST_S or self.base <= 0:
            return None
        independent = self.learned_s / TOGETHER_S
        error = math.sqrt(self.residual * self.squares / independent) / self.base
        return Quantity(1 + max(self.products) / self.base, error)
