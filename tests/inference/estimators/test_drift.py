"""The robust slope: right within its error, unmoved by wild points; a leaking cell's drain in charge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.estimators.chemistry import load_chemistry
from services.inference.estimators.drift import DAY_S, LEAST_POINTS, POINTS, Drift, robust_slope

NMC = load_chemistry("NMC")


def line(slope: float, noise: float, seed: int, days: float = 10.0, n: int = 40) -> list[tuple[float, float]]:
    draw = np.random.default_rng(seed)
    x = np.linspace(0, days, n)
    return list(zip(x.tolist(), (0.01 + slope * x + noise * draw.standard_normal(n)).tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(slope=st.floats(-0.005, 0.005), seed=st.integers(0, 999))
def test_the_slope_is_right_within_its_error(slope: float, seed: int) -> None:
    found = robust_slope(line(slope, 0.001, seed))
    assert found is not None
    assert abs(found[0] - slope) < 5 * found[1]
    assert found[1] < 0.0005


def test_a_quarter_of_wild_points_does_not_move_it() -> None:
    points = line(0.002, 0.0005, 1)
    wild = [(x, y + 1.0) if i % 4 == 0 else (x, y) for i, (x, y) in enumerate(points)]
    found, clean = robust_slope(wild), robust_slope(points)
    assert found is not None
    assert clean is not None
    assert found[0] == pytest.approx(clean[0], abs=3e-4)


def test_too_few_points_or_too_short_a_time_say_nothing() -> None:
    assert robust_slope(line(0.1, 0, 0, n=LEAST_POINTS - 1)) is None
    assert robust_slope(line(0.1, 0, 0, days=0.9)) is None


def test_a_leaking_cell_drains_by_its_leak_and_a_balanced_pack_does_not() -> None:
    """1 mA out of a cell of 3 Ah is 0.8 % of its charge a day."""
    leaking, balanced = Drift(), Drift()
    for hour in range(24 * 14):
        t = hour * 3600.0
        cells = [3.75] * 7
        low = NMC.voltage_at(NMC.soc_at(3.75) - 0.008 * t / DAY_S)
        leaking.take(t, 3600.0, [*cells, low], NMC)
        balanced.take(t, 3600.0, [*cells, 3.745], NMC)
    assert leaking.share is not None
    assert leaking.share.value == pytest.approx(0.008, rel=0.15)
    assert leaking.share.value - 3 * leaking.share.error > 0.001  # the shipped rule raises
    assert balanced.share is not None
    assert abs(balanced.share.value) < 0.0003


def test_points_stay_few_however_long_it_lasts_and_load_gives_none() -> None:
    drift = Drift()
    for hour in range(24 * 200):
        drift.take(hour * 3600.0, 100.0, [3.7, 3.6], None)  # a rest that has not settled
    assert drift.points == []
    for hour in range(24 * 200):
        drift.take(hour * 3600.0, 3600.0, [3.7, 3.6], None)
        assert len(drift.points) <= POINTS
    assert drift.points[0][0] > 135  # days: older ones say nothing about now
    assert drift.quantity is not None
    assert drift.quantity.value == pytest.approx(0.0, abs=1e-9)
