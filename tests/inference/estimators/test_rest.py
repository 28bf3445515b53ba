"""A rest begins and ends with the current; its voltage is the surer the longer it has relaxed."""

import math

from services.inference.estimators.rest import RELAXING_V, SENSOR_V, Rest


def relaxing(seconds: int, volts: float = 0.02, tau: float = 1500.0, drain: float = 0.0) -> Rest:
    """A voltage that relaxes to 3.7 V, each 10 s; `drain` [V/s] is a cell that empties."""
    rest = Rest()
    for t in range(0, seconds, 10):
        rest.take(float(t), 0.0, 0.05, 3.7 + volts * math.exp(-t / tau) - drain * t)
    return rest


def test_it_lasts_while_no_current_flows() -> None:
    rest = Rest()
    rest.take(0.0, 2.0, 0.05, 3.7)
    assert rest.age(0.0) == 0
    for t in (10.0, 20.0):
        rest.take(t, 0.01, 0.05, 3.7)
    assert rest.age(20.0) == 10.0
    rest.take(30.0, None, 0.05, None)  # a lost reading is no load
    assert rest.age(30.0) == 20.0
    rest.take(40.0, -1.0, 0.05, 3.6)
    assert (rest.age(40.0), rest.voltage, rest.rate) == (0.0, None, None)


def test_the_error_holds_what_is_left_of_relaxation() -> None:
    for seconds in (1800, 3600, 7200):
        rest, left = relaxing(seconds), 0.02 * math.exp(-seconds / 1500)
        assert rest.voltage is not None
        assert rest.voltage_error(seconds) > 0.5 * left
    assert relaxing(7200).voltage_error(7200) < relaxing(1800).voltage_error(1800)
    assert relaxing(36_000).voltage_error(36_000) < 2 * SENSOR_V


def test_a_cell_that_empties_is_not_relaxing_for_ever() -> None:
    """2 mV a minute after hours is a leak: the error stays bounded, so that the state of charge follows the voltage."""
    rest = relaxing(6 * 3600, drain=0.002 / 60)
    assert rest.voltage_error(6 * 3600) < 3.5 * RELAXING_V


def test_without_a_rate_the_usual_relaxation_is_assumed() -> None:
    rest = Rest()
    rest.take(0.0, 0.0, 0.05, 3.7)
    assert math.isclose(rest.voltage_error(1800.0), math.hypot(RELAXING_V, SENSOR_V))
