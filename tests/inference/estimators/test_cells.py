"""The worst cell's resistance is found by how the cells move with the current."""

import numpy as np
import pytest

from services.inference.estimators.cells import LEAST_S, Cells


def cells(worst: float, seconds: int = 1800, noise: float = 0.0005, seed: int = 0) -> Cells:
    """24 cells of 2 mohm at changing current, one of them with `worst` times that; charge and balance drift slowly."""
    draw, made = np.random.default_rng(seed), Cells()
    ohm, balance = np.full(24, 0.002), 0.01 * draw.standard_normal(24)
    ohm[7] *= worst
    current = 0.0
    for second in range(seconds):
        if second % 20 == 0:
            current = float(draw.uniform(-80, 40))
        volts = 3.8 - 1e-5 * second + balance * (1 + second / 5e3) + ohm * current + noise * draw.standard_normal(24)
        made.take(float(second), current, volts.tolist(), 6.0)
    return made


@pytest.mark.parametrize("worst", [1.3, 2.0, 3.0])
def test_the_ratio_is_right_within_its_error(worst: float) -> None:
    ratio = cells(worst).ratio
    assert ratio is not None
    assert abs(ratio.value - worst) < 3 * ratio.error + 0.02
    assert ratio.error < 0.1


def test_cells_that_are_alike_differ_by_noise_only() -> None:
    ratio = cells(1.0).ratio
    assert ratio is not None
    assert 1 <= ratio.value < 1.05


def test_nothing_is_said_too_soon_or_of_too_few_cells_or_at_rest() -> None:
    assert cells(2.0, seconds=round(LEAST_S) - 60).ratio is None
    few, rest = Cells(), Cells()
    for second in range(1800):
        few.take(float(second), 50.0 * (second % 2), [3.7, 3.7, 3.8], 6.0)
        rest.take(float(second), 0.0, [3.7] * 8, 6.0)
    assert few.ratio is None
    assert rest.ratio is None


def test_another_number_of_cells_begins_anew() -> None:
    made = cells(2.0)
    made.take(2000.0, 10.0, [3.7] * 30, 6.0)
    assert made.ratio is None
