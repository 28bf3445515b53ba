"""From windows to vehicles: the top-h mean, and h chosen without those that are judged."""

import numpy as np
import pytest

from training.data.errors import DataError
from training.evaluation.vehicles import H, balanced_quantile, by_vehicle, choose_h, separation, top

NAMES = np.array(["a"] * 10 + ["b"] * 10)


def test_top_is_the_mean_of_the_highest_thousandths() -> None:
    scores = np.arange(1000.0)
    assert top(scores, 1) == 999
    assert top(scores, 10) == np.arange(990, 1000).mean()
    assert top(scores, 1000) == scores.mean()
    assert top(np.array([3.0]), 1) == 3.0  # one window at least


def test_vehicles_come_sorted_whatever_the_order_of_windows() -> None:
    mixed = np.random.default_rng(0).permutation(20)
    scores = np.r_[np.arange(10.0), 5 + np.arange(10.0)]
    names, tops = by_vehicle(scores[mixed], NAMES[mixed], 1)
    assert (names, tops.tolist()) == (["a", "b"], [9.0, 14.0])


def test_separation_counts_pairs_in_order_and_names_one_class() -> None:
    assert separation(np.array([1.0, 2, 3, 0]), np.array([False, True, True, False])) == 1.0
    with pytest.raises(DataError, match="fold 3: two classes: all 2 are healthy"):
        separation(np.array([1.0, 2.0]), np.array([False, False]), "fold 3")


def fleet(good: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six vehicles of 100 windows; the three faulty ones have `good` windows that stand out, among noise."""
    draw = np.random.default_rng(2)
    scores = draw.exponential(1.0, (6, 100))
    scores[3:, :good] += 1.5
    scores[:3, 0] = 40.0  # a wild one in each healthy vehicle
    names = np.repeat([f"v{i}" for i in range(6)], 100)
    labels = np.repeat([0, 0, 0, 1, 1, 1], 100).astype(np.int8)
    return scores.ravel(), names, labels


def test_h_is_as_large_as_the_fault_lasts() -> None:
    scores, names, labels = fleet(good=60)
    h = choose_h(scores, names, labels, None)
    assert h in H
    assert h > 10  # the highest window alone is the wild one
    tops = by_vehicle(scores, names, h)[1]
    assert separation(tops, np.arange(6) >= 3) == 1.0


def test_h_is_chosen_on_the_parts_that_hold_both_classes() -> None:
    scores, names, labels = fleet(good=60)
    assert choose_h(scores, names, labels, [["v0", "v3"], ["v1", "v2"]]) in H
    with pytest.raises(DataError, match="no inner fold holds healthy and faulty vehicles"):
        choose_h(scores, names, labels, [["v0", "v1"], ["v3", "v4"]])


def test_a_quantile_does_not_listen_to_the_vehicle_with_most_windows() -> None:
    scores = np.r_[np.zeros(1000), np.ones(10)]
    names = np.array(["many"] * 1000 + ["few"] * 10)
    assert balanced_quantile(scores, names, 0.5) == 0
    assert balanced_quantile(scores, names, 0.51) == 1
    assert balanced_quantile(scores, names, 1.0) == 1
