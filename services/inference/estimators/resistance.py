"""DC resistance from steps of the current: of the device, and of its worst cell against the middle one. Pure.

    R = dV / dI from one sample to the next, where the current has stepped

so it is the resistance seen over one sampling period: ohmic at 1 s, with some polarisation at 10 s. An offset of either
sensor cancels. The ratio of the worst cell to the middle one is free of temperature and state of charge, which cells
of one device share: it shows a joint that goes bad, or a cell that ages before the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept, Quantity, median

LONGEST_S: Final = 11.0  # between the two samples
FORGET: Final = 0.99  # a step: about the last hundred count
LEAST_STEPS: Final = 8
WILD: Final = (
    3.0  # standard deviations: a step that fits worse counts less (voltage and current not read at one moment)
)


@dataclass(slots=True)
class Resistance(Kept):
    """Regression of voltage steps on current steps through the origin, with forgetting."""

    KEPT: ClassVar = ("steps", "squares", "products", "residual", "before", "of_cells", "cell_residual", "cells_before")
    steps: int = 0
    squares: float = 0.0  # sum of dI2
    products: float = 0.0  # sum of dI dV
    residual: float = 0.0  # variance of dV about R dI [V2]
    before: list[float] | None = None  # t, A, V of the last sample
    of_cells: list[float] = field(default_factory=list)  # sum of dI dV by cell
    cell_residual: float = 0.0
    cells_before: list[float] | None = None

    def take(
        self, t: float, current: float | None, voltage: float | None, cells: Sequence[float] | None, least: float
    ) -> None:
        """Take one sample.

        Args:
            voltage: of the device [V].
            cells: all cell voltages, each of them good; None = not all are.
            least: smallest step that tells anything [A].
        """
        before, cells_before = self.before, self.cells_before
        if current is None or voltage is None:
            self.before = self.cells_before = None
            return
        self.before = [t, current, voltage]
        self.cells_before = None if cells is None else list(cells)
        if before is None or not 0 < t - before[0] <= LONGEST_S:
            return
        step = current - before[1]
        if abs(step) < least:
            return
        self._learn(step, voltage - before[2])
        if cells is not None and cells_before is not None and len(cells) == len(cells_before):
            self._learn_cells(step, [now - then for now, then in zip(cells, cells_before, strict=True)])

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

    def _learn_cells(self, step: float, changes: list[float]) -> None:
        if len(self.of_cells) != len(changes) + 1:
            self.of_cells, self.cell_residual = [0.0] * (len(changes) + 1), 0.0  # the last one: sum of dI2
        sums = self.of_cells
        if sums[-1] > 0:
            middle = median(changes)
            base = median(sums[:-1]) / sums[-1]
            miss = sum(
                (c - middle - (s / sums[-1] - base) * step) ** 2 for c, s in zip(changes, sums[:-1], strict=True)
            ) / len(changes)
            self.cell_residual += (miss - self.cell_residual) * max(1 - FORGET, 1 / self.steps)
        for i, change in enumerate(changes):
            sums[i] = FORGET * sums[i] + step * change
        sums[-1] = FORGET * sums[-1] + step * step

    @property
    def quantity(self) -> Quantity | None:
        """Resistance of the device [ohm]."""
        if self.steps < LEAST_STEPS or self.products <= 0:
            return None
        return Quantity(self.products / self.squares, math.sqrt(self.residual / self.squares))

    @property
    def ratio(self) -> Quantity | None:
        """Worst cell over the middle one; 1 = all alike."""
        if self.steps < LEAST_STEPS or len(self.of_cells) < 4:
            return None
        squares, sums = self.of_cells[-1], self.of_cells[:-1]
        base = median(sums)
        if squares <= 0 or base <= 0:
            return None
        return Quantity(max(sums) / base, math.sqrt(self.cell_residual / squares) / (base / squares))
