"""AUROC and its interval: against counting pairs, and against the whole resampled sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.auroc import auroc, curve, interval

pytestmark = pytest.mark.training
scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30).map(np.array)


@given(scores, scores)
@settings(deadline=None)
def test_it_is_the_share_of_pairs_in_order(faulty: np.ndarray, healthy: np.ndarray) -> None:
    pairs = [(f > h) + 0.5 * (f == h) for f in faulty for h in healthy]
    found = auroc(faulty, healthy)
    assert found == pytest.approx(np.mean(pairs))
    false, true = curve(faulty, healthy)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(found)


def test_of_one_class_there_is_none() -> None:
    nothing = np.array([])
    assert auroc(nothing, np.ones(3)) is None
    assert auroc(np.ones(3), nothing) is None
    assert interval(np.ones(3), np.array(["a", "b", "a"]), nothing, nothing.astype(str)) is None
    assert interval(np.ones(3), np.array(["a"] * 3), np.ones(2), np.array(["a"] * 2)) is None  # one group


def test_the_interval_is_that_of_resampled_groups() -> None:
    draw = np.random.default_rng(1)
    groups = np.array(["a", "b", "c", "d", "e"])
    side = {name: (draw.choice(groups, n), draw.normal(mean, 1, n)) for name, n, mean in (("f", 60, 1), ("h", 80, 0))}
    shift = {name: draw.normal(0, 1) for name in groups}
    faulty = side["f"][1] + np.array([shift[g] for g in side["f"][0]])
    healthy = side["h"][1]
    found = interval(faulty, side["f"][0], healthy, side["h"][0], draws=800)
    assert found is not None
    resampled = []
    for _ in range(800):
        chosen = draw.choice(groups, len(groups))
        f = np.concatenate([faulty[side["f"][0] == g] for g in chosen])
        h = np.concatenate([healthy[side["h"][0] == g] for g in chosen])
        resampled.append(auroc(f, h))
    assert found == pytest.approx(np.quantile(np.array(resampled, dtype=float), [0.025, 0.975]), abs=0.03)
    assert found[1] - found[0] > 0.05  # between groups it varies
