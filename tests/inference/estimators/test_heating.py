"""The rate of temperature: right within its error, silent where there is no slope to be had."""

import numpy as np
import pytest

from services.inference.estimators.heating import QUANTUM, Heating


def ramp(rate: float, seconds: int = 180, each: float = 1.0, noise: float = 0.0) -> tuple[Heating, float]:
    """Readings of a DS18B20: in steps of 1/16 K."""
    draw, made, t = np.random.default_rng(0), Heating(), 0.0
    while t < seconds:
        true = 20 + rate * t + noise * float(draw.standard_normal())
        made.take(t, round(true / QUANTUM) * QUANTUM)
        t += each
    return made, t - each


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.05, 1.0, -0.3])
def test_the_rate_is_right_within_its_error(rate: float) -> None:
    made, t = ramp(rate)
    found = made.quantity(t)
    assert found is not None
    assert abs(found.value - rate) < 3 * found.error + 1e-4
    assert found.error < 0.002


def test_a_change_is_seen_within_a_minute() -> None:
    made, t = ramp(0.0)
    for second in range(60):
        made.take(t + 1 + second, 20 + 0.5 * second)
    found = made.quantity(t + 60)
    assert found is not None
    assert found.value > 0.25


def test_too_few_or_old_readings_have_no_rate() -> None:
    made = Heating()
    assert made.quantity(0.0) is None
    for second in range(4):
        made.take(float(second), 20.0)
    assert made.quantity(3.0) is None
    made, t = ramp(0.1)
    assert made.quantity(t + 60) is not None
    assert made.quantity(t + 120) is None
    made.take(t + 1000, 80.0)  # after a long silence nothing of before counts
    assert made.quantity(t + 1000) is None


def test_a_missing_reading_is_no_reading() -> None:
    made, t = ramp(0.1)
    before = made.state()
    made.take(t + 1, None)
    assert made.state() == before
