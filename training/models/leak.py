"""The head of the cell detector: from a window's deviations to the log odds that the cell leaks.

It is trained without any fault data: to the deviations of healthy windows (of cells' protocols that the net was not
trained on) is added what a resistor R across the cell would add, slope x integral of V dt / (R Q), R drawn
log-uniformly, and a logistic regression tells the two apart. It so knows the physics of this one fault; for others the
score also rises with the size of the deviation, whatever its sign (`Head.score`).

Arrays: deviation, log_variance, slope (windows, steps), scaled (windows, steps, columns), in training/models/cell.py's
units. Everything here is repeated as ONNX operators in training/compress/cell_graph.py.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.models.cell import TIME, VOLTAGE, Floats, Values

BINS: Final = 8
TOP: Final = 4  # the mean of the top quarter
SMALL: Final = (0.128, 0.03, 1.0)  # against logarithms and quotients of nothing: square, matched filter, amplitude
OHMS: Final = (10.0, 150.0)
UNLIKE: Final = 2.0  # by how much the score grows when the squared deviation grows e-fold beyond anything healthy


@dataclass(frozen=True, slots=True)
class Deviations:
    """Windows as the head sees them.

    deviation: predicted less measured voltage; volt_hours: integral of the voltage since the phase began [V h];
    capacity: (windows,) [Ah].
    """

    deviation: Floats
    log_variance: Floats
    slope: Floats
    scaled: Values
    volt_hours: Floats
    capacity: Floats

    def __len__(self) -> int:
        return len(self.deviation)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Deviations":
        return Deviations(
            self.deviation[keep],
            self.log_variance[keep],
            self.slope[keep],
            self.scaled[keep],
            self.volt_hours[keep],
            self.capacity[keep],
        )

    def leaking(self, ohm: Floats) -> "Deviations":
        """The same windows as they would be with a resistor of `ohm` (windows,) across the cell."""
        lower = self.slope * self.volt_hours / (self.capacity * ohm)[:, None]
        scaled = self.scaled.copy()
        scaled[..., VOLTAGE] -= lower
        return replace(self, deviation=self.deviation + lower, scaled=scaled)


def join(parts: list[Deviations]) -> Deviations:
    names = ("deviation", "log_variance", "slope", "scaled", "volt_hours", "capacity")
    return Deviations(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def features(windows: Deviations) -> Floats:
    """(windows, features): bins of z, log of its squared sum, its top quarter, how well it fits a leak's course
    (matched filter) and how large that leak would be, the last step's columns and the mean columns.
    """
    inverse = np.exp(-0.5 * windows.log_variance)
    z = windows.deviation * inverse
    expected = windows.slope * windows.scaled[..., TIME] * inverse
    matched, norm = (z * expected).sum(1), np.sqrt((expected**2).sum(1))
    count, steps = z.shape
    bins = z.reshape(count, BINS, steps // BINS).mean(2)
    square = np.log((z**2).sum(1) + SMALL[0])
    top = np.sort(z, axis=1)[:, -(steps // TOP) :].mean(1)
    fits = [matched / (norm + SMALL[1]), matched / (norm**2 + SMALL[2])]
    columns = [windows.scaled[:, -1], windows.scaled.mean(1)]
    return np.column_stack([bins, square, top, *fits, *columns]).astype(np.float64)


SQUARE: Final = BINS
"""The feature: log of the sum of squared z."""


@dataclass(frozen=True, slots=True)
class Head:
    """weight (features,), bias: log odds of a leak. strange: log of the squared sum of z beyond which a window is
    strange, and the score at which it then begins.
    """

    weight: Floats
    bias: float
    strange: tuple[float, float]

    def score(self, windows: Deviations) -> Floats:
        """Higher is stranger: the greater of the log odds of a leak and what the squared deviation says."""
        table = features(windows)
        beyond = self.strange[1] + UNLIKE * (table[:, SQUARE] - self.strange[0])
        return np.asarray(np.maximum(self.odds(table), beyond))

    def less(self, amount: float) -> "Head":
        """The same with every score lower by `amount`."""
        return Head(self.weight, self.bias - amount, (self.strange[0], self.strange[1] - amount))

    def odds(self, table: Floats) -> Floats:
        return np.asarray(table @ self.weight + self.bias)


def fit_head(healthy: Deviations, seed: int, ridge: float = 40.0, draws: int = 4, quantile: float = 0.999) -> Head:
    """Learn to tell healthy windows from the same ones with leaks added.

    Args:
        healthy: of protocols that the net which made the deviations was not trained on.
        draws: resistors a window.
        quantile: of healthy windows; what deviates more is strange, whatever its sign.
    """
    generator = np.random.default_rng(seed)
    low, high = np.log(OHMS)
    leaking = [features(healthy.leaking(np.exp(generator.uniform(low, high, len(healthy))))) for _ in range(draws)]
    table = features(healthy)
    everything = np.concatenate([table, *leaking])
    label = np.concatenate([np.zeros(len(table)), np.ones(draws * len(table))])
    importance = np.concatenate([np.full(len(table), float(draws)), np.ones(draws * len(table))])
    weight, bias = logistic(everything, label, importance, ridge)
    odds = table @ weight + bias
    strange = float(np.quantile(table[:, SQUARE], quantile)), float(np.quantile(odds, quantile))
    return Head(weight, bias, strange)


def logistic(table: Floats, label: Floats, importance: Floats, ridge: float) -> tuple[Floats, float]:
    """Weights and bias of a logistic regression by Newton's method; the ridge is on standardised features."""
    mean, spread = table.mean(0), table.std(0)
    spread[spread < 1e-9] = np.inf  # a constant column gets weight 0
    design = np.column_stack([np.ones(len(table)), (table - mean) / spread])
    penalty = ridge * np.eye(design.shape[1])
    penalty[0, 0] = 1e-9
    found = np.zeros(design.shape[1])
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (importance * (label - chance)) - penalty @ found
        curvature = (design * (importance * chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        found += step
        if np.abs(step).max() < 1e-7:
            break
    weight = found[1:] / spread
    return weight, float(found[0] - mean @ weight)
