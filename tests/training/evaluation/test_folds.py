"""Five folds over vehicles: each judged once, by an h that has not seen it."""

import numpy as np
import pytest

from training.data.errors import DataError
from training.data.windows import Windows
from training.evaluation.folds import FOLDS, RATES, judged, over_vehicles, roc, vehicles_of

EACH = 6


def windows(healthy: int, faulty: int) -> Windows:
    names = [f"v{i:02d}" for i in range(healthy + faulty)]
    n = len(names) * EACH
    group = np.repeat(names, EACH)
    late = np.tile(np.arange(EACH) >= EACH // 2, len(names))  # the fault comes in the middle of a life
    broken = np.isin(group, names[healthy:]) & late
    return Windows(
        np.zeros((n, 4, 1), np.float32),
        ("voltage",),
        10.0,
        source=np.full(n, "s"),
        group=group,
        unit=group,
        label=broken.astype(np.int8),
        fault=np.where(broken, "internal_short", ""),
        size=np.where(broken, 10.0 + np.arange(n), np.nan).astype(np.float32),
        start_s=np.arange(n, dtype=float),
    )


def perfect(of: Windows) -> np.ndarray:
    return of.label + np.random.default_rng(1).uniform(0, 0.1, len(of))


def test_a_vehicle_is_faulty_when_one_of_its_windows_is() -> None:
    known = vehicles_of(windows(3, 2))
    assert known.faulty.tolist() == [False] * 3 + [True] * 2
    assert known.fault == ["", "", "", "internal_short", "internal_short"]
    assert np.isnan(known.size[:3]).all()
    assert known.size[3:].tolist() == [31.0, 37.0]  # of a short the smallest resistance that occurs


def test_every_vehicle_is_judged_once_in_folds_that_hold_faulty_ones() -> None:
    given = windows(15, 10)
    outcome = judged(given, perfect(given))
    assert np.isfinite(outcome.score).all()
    assert np.bincount(outcome.fold).tolist() == [5] * FOLDS
    for i in range(FOLDS):
        assert outcome.vehicles.faulty[outcome.fold == i].sum() == 2
    found = outcome.as_dict()
    assert (found["auroc"], found["together"], found["spread"]) == (1.0, 1.0, 0.0)
    assert found["ci95"] == [1.0, 1.0]
    assert len(found["h"]) == FOLDS


def test_scores_that_know_nothing_are_near_chance() -> None:
    given = windows(60, 40)
    found = judged(given, np.random.default_rng(3).standard_normal(len(given))).as_dict()
    low, high = found["ci95"]
    assert low < found["together"] < high
    assert 0.3 < low < 0.5 < high < 0.7


def test_the_judged_vehicles_own_scores_do_not_choose_h() -> None:
    given = windows(15, 10)
    scores = perfect(given)
    part = over_vehicles(vehicles_of(given))[0]
    tested = np.isin(given.group, list(part.test))
    changed = scores.copy()
    changed[tested] = np.random.default_rng(4).standard_normal(tested.sum()) * 100
    assert judged(given, scores).h[0] == judged(given, changed).h[0]


def test_a_fold_with_one_class_is_named() -> None:
    given = windows(20, 3)
    with pytest.raises(DataError, match=r"vehicles of fold \d of 5: two classes: all \d are healthy"):
        judged(given, perfect(given)).as_dict()


def test_fewer_vehicles_than_folds_are_named() -> None:
    given = windows(2, 2)
    with pytest.raises(DataError, match="folds: 4 groups for 5 folds"):
        judged(given, perfect(given))


def test_the_rocs_band_holds_its_line() -> None:
    draw = np.random.default_rng(5)
    faulty = np.arange(60) >= 30
    found = {name: np.array(line) for name, line in roc(draw.standard_normal(60) + 1.5 * faulty, faulty).items()}
    np.testing.assert_allclose(found["false"], RATES, atol=1e-4)
    assert (np.diff(found["true"]) >= 0).all()
    assert ((found["low"] <= found["true"] + 1e-9) & (found["true"] <= found["high"] + 1e-9)).all()
    assert (found["high"] - found["low"]).max() > 0.1
