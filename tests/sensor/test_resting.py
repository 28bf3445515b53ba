"""When a battery rests, and what wakes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.sensor.resting import Rest, Resting

REST = Rest(period_s=5.0, after_s=60.0)
UNITS = {"current": "A", "voltage": "V", "cell_voltages": "V", "temperatures": "degC", "soc": "1"}
QUIET = {
    "current": [0.02],
    "voltage": [355.0],
    "cell_voltages": [3.7, 3.71],
    "temperatures": [20.0, 21.0],
    "soc": [0.5],
}


def look(resting: Resting, mono: float, changed: dict[str, list[float]] | None = None, bad: str = "") -> float | None:
    for name, values in (QUIET | (changed or {})).items():
        resting.take(mono, name, np.array(values), good=name != bad)
    return resting.period_s(mono)


def at_rest() -> Resting:
    resting = Resting(REST, UNITS)
    assert [look(resting, float(t)) for t in range(60)] == [None] * 60
    assert look(resting, 60.0) == 5.0
    return resting


def test_a_device_rests_when_nothing_has_moved_for_a_while() -> None:
    resting = at_rest()
    assert [look(resting, t) for t in (65.0, 70.0, 500.0)] == [5.0] * 3


@pytest.mark.parametrize(
    "changed",
    [
        {"current": [0.2]},
        {"current": [-0.2]},
        {"voltage": [354.0]},
        {"cell_voltages": [3.7, 3.7166]},
        {"cell_voltages": [3.694, 3.71]},
        {"temperatures": [20.0, 21.6]},
        {"temperatures": [45.0, 21.0]},
    ],
)
def test_one_reading_of_one_element_wakes_it(changed: dict[str, list[float]]) -> None:
    resting = at_rest()
    assert look(resting, 65.0, changed) is None
    assert look(resting, 66.0, changed) is None
    assert look(resting, 124.0) is None


def test_what_is_within_the_noise_does_not() -> None:
    resting = at_rest()
    noise = {"voltage": [355.3], "cell_voltages": [3.703, 3.707], "temperatures": [20.4, 20.6], "soc": [0.9]}
    assert look(resting, 65.0, noise) == 5.0


def test_a_faulty_or_doubtful_reading_wakes_it() -> None:
    resting = at_rest()
    assert look(resting, 65.0, bad="temperatures") is None
    resting = at_rest()
    resting.disturb(65.0)
    assert resting.period_s(65.0) is None
    assert look(resting, 124.0) is None
    assert look(resting, 125.0) == 5.0


def test_a_warm_device_never_rests() -> None:
    resting = Resting(REST, UNITS)
    assert {look(resting, 5.0 * t, {"temperatures": [20.0, 46.0]}) for t in range(100)} == {None}


@pytest.mark.parametrize(("per_minute", "expected"), [(0.4, {5.0}), (1.2, {None})])
def test_a_slow_drift_is_a_rest_and_a_faster_one_is_not(per_minute: float, expected: set[float | None]) -> None:
    resting = at_rest()
    found = [look(resting, 60.0 + t, {"temperatures": [20.0, 21.0 + per_minute * t / 60]}) for t in range(0, 600, 5)]
    assert set(found[6:]) == expected


@given(st.lists(st.tuples(st.floats(0.1, 30), st.floats(-1, 1)), max_size=60))
def test_it_never_rests_within_the_time_after_a_current(steps: list[tuple[float, float]]) -> None:
    resting, mono, flowed = Resting(REST, UNITS), 0.0, 0.0
    for passed, current in steps:
        mono += passed
        if abs(current) > REST.ampere:
            flowed = mono
        period = look(resting, mono, {"current": [current]})
        assert period is None or mono - flowed >= REST.after_s


def test_without_a_current_or_a_voltage_nobody_can_tell() -> None:
    with pytest.raises(ValueError, match="neither a current nor a voltage"):
        Resting(REST, {"temperatures": "degC"})


@pytest.mark.parametrize("wrong", [{"period_s": 11}, {"celsius": 70}, {"after_s": 5}, {"every": 5}])
def test_a_rest_that_would_not_be_safe_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Rest.model_validate(wrong)
