"""DC resistance of the device from steps of the current. Pure.

    R = dV / dI from one sample to the next, where the current has stepped

so it is the resistance seen over one sampling period: ohmic at 1 s, with some polarisation at 10 s. An offset of either
sensor cancels.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept, Quantity

LONGEST_S: Final = 11.0  # between the two samples
FORGET: Final = 0.99  # a step: about the last hundred count
LEAST_STEPS: Final = 8
WILD: Final = (
    3.0  # standard deviations: a step that fits worse counts less (voltage and current not read at one moment)
)


@dataclass(slots=True)
class Resistance(Kept):
    """Regression of voltage steps on current steps through the origin, with forgetting."""

    KEPT: ClassVar = ("steps", "squares", "products", "residual", "before")
    steps: int = 0
    squares: float = 0.0  # sum of dI2
    products: float = 0.0  # sum of dI dV
    residual: float = 0.0  # variance of dV about R dI [V2]
    before: list[float] | None = None  # t, A, V of the last sample

    def take(self, t: float, current: float | None, voltage: float | None, least: float) -> None:
        """Take one sample.

        Args:
            voltage: of the device [V].
            least: smallest step that tells anything [A].
        """
        before = self.before
        if current is None or voltage is None:
            self.before = None
            return
        self.before = [t, current, voltage]
        if before is None or not 0 < t - before[0] <= LONGEST_S:
            return
        step = current - before[1]
        if abs(step) >= least:
            self._learn(step, voltage - before[2])

    def _learn(self, step: float, change: float) -> None:
        self.steps += 1
        if self.steps <= 2:
            weight = 1.0
        else:
            miss = change - self.products / self.squares * step
            sigma = math.sqrt(self.residual)
            weight = 1.0 if self.steps <= LEAST_STEPS else min(1.0, WILD * sigma / max(abs(miss), 1e-12))
            share = max(1 - FORGET, 1 / self.steps)
            self.residual += (weight * miss * miss - self.residual) * share
        self.squares = FORGET * self.squares + weight * step * step
        self.products = FORGET * self.products + weight * step * change

    @property
    def quantity(self) -> Quantity | None:
        """Resistance of the device [ohm]."""
        if self.steps < LEAST_STEPS or self.products <= 0:
            return None
        return Quantity(self.products / self.squares, math.sqrt(self.residual / self.squares))
