"""Drift of the weakest cell against its neighbours, from rest to rest. Pure.

At rest, how far the lowest cell lies below the middle one is a matter of charge, not of resistance; a cell that leaks
falls further with every day. The slope is that of Theil and Sen (the median of the slopes between all pairs of points:
up to 29 % of them may be wild), its error from the points' scatter about the line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Final

from services.inference.estimators.chemistry import Chemistry
from services.inference.estimators.quantity import Kept, Quantity, mad, median

SETTLE_S: Final = 300.0  # of a rest: until cells differ by charge only
SPACING_S: Final = 3600.0  # between points, doubled each time that they become too many
POINTS: Final = 48
LEAST_POINTS: Final = 8
LEAST_DAYS: Final = 1.0
KEEP_DAYS: Final = 60.0  # older points say nothing about now
DAY_S: Final = 86_400.0


@dataclass(slots=True)
class Drift(Kept):
    """Points (day, V, share of charge) of how far the lowest cell lies below the middle one."""

    KEPT: ClassVar = ("points", "spacing_s", "slope", "drain")
    points: list[list[float]] = field(default_factory=list)
    spacing_s: float = SPACING_S
    slope: list[float] | None = None  # V a day, error
    drain: list[float] | None = None  # share of the capacity a day, error

    def take(self, t: float, rest_s: float, cells: Sequence[float], chemistry: Chemistry | None) -> None:
        """Take the good cell voltages of one sample, in a rest that has lasted `rest_s`."""
        if rest_s < SETTLE_S or len(cells) < 2:
            return
        if self.points and t - self.points[-1][0] * DAY_S < self.spacing_s:
            return
        middle, low = median(cells), min(cells)
        share = 0.0 if chemistry is None else (middle - low) / chemistry.slope(middle)
        self.points.append([t / DAY_S, middle - low, share])
        while self.points[0][0] < t / DAY_S - KEEP_DAYS:
            del self.points[0]
        if len(self.points) > POINTS:
            del self.points[1::2]  # every other, but not the first
            self.spacing_s *= 2
        self.slope = robust_slope([(p[0], p[1]) for p in self.points])
        self.drain = None if chemistry is None else robust_slope([(p[0], p[2]) for p in self.points])

    @property
    def quantity(self) -> Quantity | None:
        """Rise of the distance [V a day]."""
        return None if self.slope is None else Quantity(*self.slope)

    @property
    def share(self) -> Quantity | None:
        """Charge that the lowest cell loses against the middle one [share of the capacity a day]."""
        return None if self.drain is None else Quantity(*self.drain)


def robust_slope(points: Sequence[tuple[float, float]]) -> list[float] | None:
    """Theil-Sen slope and its standard error; None of too few points.

    Points close in time share their errors, so the error is widened by the correlation of neighbours.
    """
    if len(points) < LEAST_POINTS or points[-1][0] - points[0][0] < LEAST_DAYS:
        return None
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] > a[0]]
    slope = median(slopes)
    middle = sum(p[0] for p in points) / len(points)
    rests = [y - slope * x for x, y in points]
    centre = median(rests)
    rests = [r - centre for r in rests]
    scatter = max(mad(rests), 1e-4)
    total = sum(r * r for r in rests) or 1.0
    together = sum(a * b for a, b in pairwise(rests)) / total
    together = min(max(together, 0.0), 0.8)
    spread = math.sqrt(sum((p[0] - middle) ** 2 for p in points))
    return [slope, scatter / spread * math.sqrt((1 + together) / (1 - together))]
