"""The current sensor's offset is learned at rest, within its bounds, and a load is not taken for one."""

import numpy as np
import pytest

from services.inference.estimators.offset import BLOCK_S, Offset


def rest(offset: Offset, current: float, seconds: int, begin: int = 0, noise: float = 0.01, seed: int = 0) -> None:
    draw = np.random.default_rng(seed)
    for second in range(seconds):
        offset.take(float(begin + second), current + noise * float(draw.standard_normal()), float(second))


def test_it_is_right_within_its_error_and_gets_surer() -> None:
    offset = Offset(0.1)
    rest(offset, 0.03, 500)
    first = offset.quantity(500)
    rest(offset, 0.03, 3600, begin=500, seed=1)
    later = offset.quantity(4100)
    assert first is not None
    assert later is not None
    assert abs(later.value - 0.03) < 3 * later.error
    assert later.error < first.error < 0.05


def test_what_is_larger_than_a_sensor_can_be_off_is_a_load() -> None:
    offset = Offset(0.1)
    rest(offset, 0.5, 3600)
    assert offset.quantity(3600) is None
    assert offset.error(3600) == pytest.approx(0.05)  # as if nothing had been seen


def test_a_current_that_has_not_settled_is_not_looked_at() -> None:
    offset = Offset(0.1)
    for second in range(3600):
        offset.take(float(second), 0.05, 60.0)
    assert offset.quantity(3600) is None


def test_what_was_learned_long_ago_is_less_sure_and_never_worse_than_nothing() -> None:
    offset = Offset(0.1)
    rest(offset, 0.03, 7200)
    sure = [offset.error(7200 + days * 86_400) for days in (0, 1, 3, 100)]
    assert sure == sorted(sure)
    assert sure[-1] == pytest.approx(0.05)
    rest(offset, -0.02, 7200, begin=100 * 86_400)
    found = offset.quantity(100 * 86_400 + 7200)
    assert found is not None
    assert abs(found.value + 0.02) < 3 * found.error


def test_a_block_that_load_breaks_off_is_not_learned() -> None:
    offset = Offset(0.1)
    for begin in range(0, 20_000, 400):
        rest(offset, 0.03, int(BLOCK_S), begin=begin)  # 180 s of a block, then load
        offset.take(begin + BLOCK_S, 5.0, 0.0)
    assert offset.quantity(20_000) is None
