"""What an alarm rule "k of the last n windows" makes of scores: raises, and how rare they are. NumPy alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.alert.score import KofN

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rule:
    k: int
    n: int
    clear_k: int


def raised(beyond: NDArray[np.bool_], rule: Rule) -> list[int]:
    """Windows, in order of time, at which the alarm is raised."""
    watch = KofN(rule.k, rule.n, rule.clear_k)
    found: list[int] = []
    before = False
    for i, strange in enumerate(beyond.tolist()):
        active = watch.update(strange)
        if active and not before:
            found.append(i)
        before = active
    return found


def upper_bound(events: int, confidence: float = CONFIDENCE) -> float:
    """The largest mean of a Poisson count that `events` or fewer leave possible (one-sided): 3.0 for none at 95 %."""
    low, high = 0.0, 10.0 + 4.0 * events

    def chance(mean: float) -> float:
        return sum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(events + 1))

    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > 1 - confidence else (low, middle)
    return high
