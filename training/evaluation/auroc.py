"""Area under the ROC curve, its bootstrap interval over groups, and the curve itself. NumPy alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Names = NDArray[np.str_]
DRAWS: Final = 2000
LEVEL: Final = 0.95


def auroc(faulty: Scores, healthy: Scores) -> float | None:
    """How often a faulty one scores above a healthy one, ties half; None when one side is empty."""
    if not len(faulty) or not len(healthy):
        return None
    return float(_wins(faulty, np.sort(healthy)) / (len(faulty) * len(healthy)))


def interval(
    faulty: Scores, faulty_group: Names, healthy: Scores, healthy_group: Names, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """95 % bootstrap interval of the AUROC, groups (protocols) drawn with replacement.

    None when one side is empty or there are fewer than two groups. A draw that leaves a side empty is drawn again.
    """
    names = np.unique(np.concatenate([faulty_group, healthy_group]))
    if not len(faulty) or not len(healthy) or len(names) < 2:
        return None
    wins = np.zeros((len(names), len(names)))
    count_faulty = np.array([(faulty_group == name).sum() for name in names], dtype=float)
    count_healthy = np.array([(healthy_group == name).sum() for name in names], dtype=float)
    for j, name in enumerate(names):
        ordered = np.sort(healthy[healthy_group == name])
        for i, other in enumerate(names):
            wins[i, j] = _wins(faulty[faulty_group == other], ordered)
    generator = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(20 * draws):
        weight = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)).astype(float)
        pairs = (weight @ count_faulty) * (weight @ count_healthy)
        if pairs > 0:
            found.append(float(weight @ wins @ weight / pairs))
        if len(found) == draws:
            break
    if not found:
        return None
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def curve(faulty: Scores, healthy: Scores) -> tuple[Scores, Scores]:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), a point a threshold."""
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([faulty, healthy]))[::-1]])
    rates = [
        1.0 - np.searchsorted(np.sort(side), thresholds, side="left") / max(1, len(side)) for side in (healthy, faulty)
    ]
    return rates[0], rates[1]


def _wins(faulty: Scores, healthy_sorted: Scores) -> float:
    below = np.searchsorted(healthy_sorted, faulty, side="left").sum()
    not_above = np.searchsorted(healthy_sorted, faulty, side="right").sum()
    return float(below + not_above) / 2
