"""85.0 degC: a probe that has just got its supply, or a battery that is this hot."""

from hypothesis import given
from hypothesis import strategies as st

from services.sensor.pi.power_on import NO_POWER, POWER_ON, PowerOn


def byte6(raw: int, clone: bool) -> int:
    return 0x0C if clone else 0x10 - (raw & 0x0F)


@given(st.lists(st.integers(-55 * 16, 125 * 16).filter(lambda raw: raw != POWER_ON)), st.booleans(), st.floats(0.1, 60))
def test_whatever_was_measured_else_is_a_temperature(raws: list[int], clone: bool, step_s: float) -> None:
    probe = PowerOn()
    for n, raw in enumerate(raws):
        assert probe.reason(raw, byte6(raw, clone), n * step_s) is None


@given(st.integers(-55 * 16, 70 * 16), st.booleans(), st.floats(0.1, 4.0))
def test_85_out_of_nowhere_is_the_power_on_value(raw: int, clone: bool, step_s: float) -> None:
    probe = PowerOn()
    probe.reason(raw, byte6(raw, clone), 0.0)
    assert probe.reason(POWER_ON, 0x0C, step_s) == "power_on"


@given(st.integers(81 * 16, 89 * 16).filter(lambda raw: raw != POWER_ON), st.booleans(), st.floats(0.1, 29.0))
def test_a_measured_85_with_near_neighbours_is_believed(raw: int, clone: bool, step_s: float) -> None:
    probe = PowerOn()
    probe.reason(raw, byte6(raw, clone), 0.0)
    assert probe.reason(POWER_ON, byte6(POWER_ON, clone), step_s) is None


def test_a_clones_85_after_it_was_away_or_silent_is_not_believed() -> None:
    probe = PowerOn()
    probe.reason(84 * 16, 0x0C, 0.0)
    probe.away()
    assert probe.reason(POWER_ON, 0x0C, 1.0) == "power_on"
    probe.reason(84 * 16, 0x0C, 2.0)
    assert probe.reason(POWER_ON, 0x0C, 60.0) == "power_on"


def test_a_clone_that_stays_at_85_is_believed_again_once_it_has_moved() -> None:
    probe = PowerOn()
    assert probe.reason(POWER_ON, 0x0C, 0.0) == "power_on"
    assert probe.reason(POWER_ON - 1, 0x0C, 1.0) is None
    assert probe.reason(POWER_ON, 0x0C, 2.0) is None


def test_a_clone_in_a_fast_runaway_through_85_is_believed() -> None:
    """1.5 K/s, read each four seconds, to the end of what it can say."""
    probe = PowerOn()
    raws = [min(POWER_ON + 6 * 16 * (n - 10), NO_POWER) for n in range(20)]
    assert NO_POWER in raws
    assert [probe.reason(raw, 0x0C, 4.0 * n) for n, raw in enumerate(raws)] == [None] * 20
