"""What a rule makes of scores, and how rare a raise is."""

import math

import numpy as np
import pytest

from training.evaluation.rule import Rule, raised, upper_bound


def beyond(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        ("....x...", Rule(1, 1, 0), [4]),
        ("xxxx", Rule(1, 1, 0), [0]),  # it stands: one raise
        ("x.x.x.x.", Rule(2, 3, 0), [2]),
        ("x..x..x..", Rule(2, 3, 0), []),
        ("xxx......xxx", Rule(3, 3, 0), [2, 11]),  # it has cleared between
        ("xxx..xxx", Rule(3, 5, 0), [2]),
        ("", Rule(8, 10, 2), []),
    ],
)
def test_a_rule_raises_when_k_of_n_windows_are_beyond(text: str, rule: Rule, at: list[int]) -> None:
    assert raised(beyond(text), rule) == at


@pytest.mark.parametrize(("events", "bound"), [(0, 2.996), (1, 4.744), (6, 11.84), (100, 118.08)])
def test_the_upper_bound_is_that_of_poisson(events: int, bound: float) -> None:
    """Garwood's exact limits, e.g. Ulm, Am. J. Epidemiology 131 (1990) 373."""
    assert upper_bound(events) == pytest.approx(bound, rel=2e-3)
    left = sum(math.exp(-bound + i * math.log(bound) - math.lgamma(i + 1)) for i in range(events + 1))
    assert left == pytest.approx(0.05, abs=2e-3)


def test_more_confidence_asks_for_more() -> None:
    assert upper_bound(3, 0.99) > upper_bound(3, 0.95) > upper_bound(3, 0.5) > 3
