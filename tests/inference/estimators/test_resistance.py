"""Resistance from steps of the current: right within its error, unmoved by steps that do not belong together."""

import numpy as np
import pytest

from services.inference.estimators.resistance import LEAST_STEPS, LONGEST_S, Resistance


def steps(count: int, ohm: float = 0.08, wild: int = 0, noise: float = 0.003, offset: float = 0.0) -> Resistance:
    """`count` steps, of which each `wild`th has a voltage that does not belong to its current."""
    draw, made = np.random.default_rng(0), Resistance()
    for i in range(count + 1):
        current = float(draw.uniform(-50, 50))
        stray = 8.0 if wild and i % wild == wild - 1 and i > LEAST_STEPS else 0.0
        made.take(float(i), current + offset, 350 + ohm * current + stray + noise * float(draw.standard_normal()), 5.0)
    return made


@pytest.mark.parametrize("ohm", [0.005, 0.08, 0.5])
def test_it_is_right_within_its_error_whatever_the_sensors_offset(ohm: float) -> None:
    for offset in (0.0, 3.0):
        found = steps(100, ohm, offset=offset).quantity
        assert found is not None
        assert abs(found.value - ohm) < 4 * found.error
        assert found.error < 0.0005


def test_a_few_steps_that_do_not_fit_hardly_move_it() -> None:
    found = steps(200, wild=20).quantity
    assert found is not None
    assert found.value == pytest.approx(0.08, abs=max(3 * found.error, 0.01))
    assert found.error > steps(200).quantity.error  # type: ignore[union-attr]


def test_it_follows_a_joint_that_goes_bad() -> None:
    made, draw = steps(200), np.random.default_rng(1)
    for i in range(300):
        current = float(draw.uniform(-50, 50))
        made.take(1000.0 + i, current, 350 + 0.16 * current, 5.0)
    assert made.quantity is not None
    assert made.quantity.value == pytest.approx(0.16, abs=0.02)


def test_few_small_or_distant_steps_say_nothing() -> None:
    assert steps(LEAST_STEPS - 1).quantity is None
    small, far = Resistance(), Resistance()
    for i in range(100):
        small.take(float(i), 4.0 * (i % 2), 350.0 + 0.1 * (i % 2), 5.0)
        far.take(i * (LONGEST_S + 1), 40.0 * (i % 2), 350.0 + 4 * (i % 2), 5.0)
    assert small.quantity is None
    assert far.quantity is None


def test_a_missing_reading_parts_the_samples_beside_it() -> None:
    made = Resistance()
    for i in range(100):
        made.take(3.0 * i, 40.0 * (i % 2), 350.0, 5.0)
        made.take(3.0 * i + 1, None, 350.0, 5.0)
    assert made.steps == 0
