"""What a rule "k of the last n windows over the threshold" would raise in service, on phases that no net has seen."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from training.data.isc_ncm import SAME_CELL
from training.evaluation.isc_ncm import SMALL
from training.models.cell_fit import CellWindows
from training.models.cell_folds import CAPACITIES, STEP_S, Part, Work, graph_scores

K_OF_N: Final = ((1, 1), (2, 3), (3, 4), (4, 5), (8, 10))
STRIDE: Final = 16  # steps from one window to the next, as in service
DAY_S: Final = 86_400.0


def alarms(work: Work, judged: Sequence[tuple[Part, bytes, float]], window: int) -> dict[str, Any]:
    """Raised and found by each rule.

    Args:
        judged: a fold's part, its INT8 graph and the threshold.
    Returns:
        healthy_days; and of each rule `healthy`: [phases in which it raises, phases], `per_day`: such phases a day of
        charging and discharging, `upper`: end of its 95 % Poisson interval, `faulty_runs`: share of runs with a
        resistor in which it raises, by ohm.
    """
    raised: dict[str, list[tuple[str, float, bool]]] = {f"{k} of {n}": [] for k, n in K_OF_N}
    seconds = 0.0
    for part, graph, threshold in judged:
        which = work.of(part.fold.test)
        which = which[(work.phases.ohm[which] >= SAME_CELL) | (work.phases.ohm[which] <= SMALL)]
        windows = CellWindows(work.phases, which, CAPACITIES, window, STRIDE)
        over = graph_scores(graph, windows) > threshold
        for i in which:
            mine, ohm = over[windows.of == i], float(work.phases.ohm[i])
            seconds += STEP_S * float(work.phases.length[i]) if ohm >= SAME_CELL else 0.0
            for k, n in K_OF_N:
                padded = np.concatenate([np.zeros(n - 1), mine])  # the first windows of a phase have fewer before them
                hit = bool((np.convolve(padded, np.ones(n), "valid") >= k).any())
                raised[f"{k} of {n}"].append((str(work.phases.unit[i]), ohm, hit))
    days = seconds / DAY_S
    return {"healthy_days": round(days, 1)} | {rule: _figures(phases, days) for rule, phases in raised.items()}


def _figures(phases: list[tuple[str, float, bool]], days: float) -> dict[str, Any]:
    healthy = [hit for _, ohm, hit in phases if ohm >= SAME_CELL]
    count = sum(healthy)
    faulty: dict[str, float] = {}
    for ohm in sorted({ohm for _, ohm, _ in phases if ohm <= SMALL}):
        units = {unit for unit, size, _ in phases if size == ohm}
        found = {unit for unit, size, hit in phases if size == ohm and hit}
        faulty[f"{ohm:g}"] = round(len(found) / len(units), 3)
    upper = (count + 1.92 + 1.96 * (count + 1) ** 0.5) / days  # of a Poisson count, to 3 %
    return {
        "healthy": [count, len(healthy)],
        "per_day": round(count / days, 3),
        "upper": round(upper, 3),
        "faulty_runs": faulty,
    }
