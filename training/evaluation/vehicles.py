"""From windows to vehicles: the top-h mean, h chosen on other vehicles, AUROC over vehicles.

As Zhang et al., Nature Communications 14:5940 (2023): the highest h thousandths of a vehicle's window scores are
averaged. NumPy alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError
from training.evaluation.auroc import auroc

Scores = NDArray[np.float64]
Names = NDArray[np.str_]
H: Final = (1, 10, 20, 50, 100, 200, 300, 500, 700, 1000)  # thousandths; 1 = the highest window, 1000 = the mean


def top(scores: Scores, h: int) -> float:
    """Mean of the highest h thousandths, of one window at least."""
    count = max(1, round(len(scores) * h / 1000))
    return float(np.sort(scores)[-count:].mean())


def by_vehicle(scores: Scores, vehicle: Names, h: int) -> tuple[list[str], Scores]:
    """Names of the vehicles, sorted, and each one's top-h mean."""
    names = sorted(set(vehicle.tolist()))
    return names, np.array([top(scores[vehicle == name], h) for name in names])


def separation(scores: Scores, faulty: NDArray[np.bool_], where: str = "AUROC") -> float:
    """AUROC: how often a faulty one scores above a healthy one. Raises DataError for one class, naming `where`."""
    found = auroc(scores[faulty], scores[~faulty])
    if found is None:
        raise DataError(where, "two classes", f"all {len(scores)} are {'faulty' if faulty.any() else 'healthy'}")
    return found


def choose_h(scores: Scores, vehicle: Names, label: NDArray[np.int8], parts: Sequence[Sequence[str]] | None) -> int:
    """The h with the best mean AUROC over parts of these vehicles (the inner folds); the smallest of equals.

    Args:
        label: of each window; a vehicle is faulty when one of its windows is.
        parts: vehicles of each inner fold's test side; None = all at once.
    """
    best = (-1.0, H[0])
    for h in H:
        names, tops = by_vehicle(scores, vehicle, h)
        faulty = np.array([bool((label[vehicle == name] == 1).any()) for name in names])
        chosen = [np.isin(names, list(part)) for part in parts] if parts else [np.ones(len(names), dtype=bool)]
        found = [separation(tops[c], faulty[c]) for c in chosen if faulty[c].any() and not faulty[c].all()]
        if found and float(np.mean(found)) > best[0]:
            best = (float(np.mean(found)), h)
    if best[0] < 0:
        raise DataError("top-h", "two classes", "no inner fold holds healthy and faulty vehicles")
    return best[1]


def balanced_quantile(scores: Scores, vehicle: Names, quantile: float) -> float:
    """Quantile of window scores, each vehicle weighing the same."""
    names, count = np.unique(vehicle, return_counts=True)
    weight = 1.0 / count[np.searchsorted(names, vehicle)]
    order = np.argsort(scores)
    reached = np.cumsum(weight[order]) / weight.sum()
    place = min(int(np.searchsorted(reached, quantile - 1e-12)), len(scores) - 1)
    return float(scores[order][place])
