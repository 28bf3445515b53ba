"""When a node without power switches off."""

from hypothesis import given
from hypothesis import strategies as st

from services.sensor.host.outage import Outage


def test_after_its_time_on_the_battery_and_not_before() -> None:
    outage = Outage(120.0)
    assert not outage.update(0.0, False, False)
    assert not outage.update(10.0, True, False)
    assert not outage.update(129.0, True, False)
    assert outage.update(130.0, True, False)


def test_power_that_comes_back_ends_it() -> None:
    outage = Outage(120.0)
    outage.update(0.0, True, False)
    assert not outage.update(119.0, False, False)
    assert not outage.update(121.0, True, False)
    assert not outage.update(240.0, True, False)
    assert outage.update(241.0, True, False)


def test_a_battery_that_is_nearly_empty_leaves_time_for_the_alarm() -> None:
    outage = Outage(120.0)
    assert not outage.update(0.0, True, True)
    assert not outage.update(9.0, True, True)
    assert outage.update(10.0, True, True)


def test_a_ups_that_falls_silent_in_an_outage_does_not_end_it() -> None:
    outage = Outage(60.0)
    outage.update(0.0, True, False)
    assert not outage.update(59.0, None, False)
    assert outage.update(60.0, None, False)


def test_a_ups_that_never_answers_switches_nothing_off() -> None:
    outage = Outage(5.0)
    assert not any(outage.update(float(t), None, False) for t in range(1000))


@given(st.lists(st.tuples(st.floats(0.1, 50), st.sampled_from([True, False, None]), st.booleans())))
def test_nothing_is_switched_off_that_has_had_power_within_ten_seconds(
    said: list[tuple[float, bool | None, bool]],
) -> None:
    outage, mono, powered = Outage(60.0), 0.0, 0.0
    for passed, lost, low in said:
        mono += passed
        if lost is False:
            powered = mono
        assert not outage.update(mono, lost, low) or mono - powered >= 10.0
