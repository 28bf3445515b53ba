"""High and low limits: deadband, delays, escalation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alert.delay import Delay
from services.alert.limits import Limit

VALUES = st.lists(st.floats(0, 100), min_size=1, max_size=60)


def run(limit: Limit, values: list[float], period_s: float = 1.0) -> list[bool]:
    return [limit.update(i * period_s, v) for i, v in enumerate(values)]


@given(VALUES)
def test_without_deadband_and_delays_it_is_a_comparison(values: list[float]) -> None:
    assert run(Limit(60.0), values) == [v >= 60.0 for v in values]


@given(VALUES)
def test_low_is_the_mirror_image_of_high(values: list[float]) -> None:
    high = Limit(60.0, deadband=5, delay=Delay(2, 3))
    low = Limit(-60.0, low=True, deadband=5, delay=Delay(2, 3))
    assert run(high, values) == run(low, [-v for v in values])


def test_limit_stays_active_inside_deadband() -> None:
    assert run(Limit(60.0, deadband=3), [60, 57.5, 57, 56.9, 58]) == [True, True, True, False, False]


@given(st.lists(st.floats(57.5, 62.5), min_size=2, max_size=60))
def test_noise_within_the_deadband_raises_at_most_once(values: list[float]) -> None:
    states = run(Limit(60.0, deadband=5.5), values)
    assert sum(b and not a for a, b in zip([False, *states], states, strict=False)) <= 1


def test_on_delay_asks_for_an_uninterrupted_excess() -> None:
    limit = Limit(60.0, delay=Delay(on_delay_s=3))
    assert run(limit, [61, 61, 61, 59, 61, 61, 61, 61]) == [False] * 7 + [True]


def test_off_delay_asks_for_an_uninterrupted_return() -> None:
    limit = Limit(60.0, delay=Delay(off_delay_s=2))
    assert run(limit, [61, 59, 59, 61, 59, 59, 59]) == [True] * 6 + [False]


@given(VALUES, st.floats(0.5, 5))
def test_never_active_before_the_delay_has_passed(values: list[float], delay_s: float) -> None:
    limit = Limit(60.0, delay=Delay(on_delay_s=delay_s))
    states = run(limit, values)
    if any(states):
        first = states.index(True)
        begun = max((i for i in range(first) if values[i] < 60.0), default=-1) + 1
        assert first - begun >= delay_s


def test_escalation_rises_and_stays_until_clear() -> None:
    limit = Limit(60.0, escalation=80.0)
    levels = []
    for t, value in enumerate([61, 81, 70, 59, 61]):
        limit.update(t, value)
        levels.append(limit.level)
    assert levels == [0, 1, 1, 0, 0]


@given(VALUES, st.integers(0, 59))
def test_a_delay_restored_in_between_goes_on_the_same(values: list[float], cut: int) -> None:
    whole = run(Limit(60.0, deadband=5, delay=Delay(2, 3)), values)
    first = Limit(60.0, deadband=5, delay=Delay(2, 3))
    states = [first.update(i, v) for i, v in enumerate(values[:cut])]
    second = Limit(60.0, deadband=5, delay=Delay(2, 3))
    second.delay.restore(first.delay.to_list())
    states += [second.update(i, v) for i, v in enumerate(values[cut:], len(values[:cut]))]
    assert states == whole


@pytest.mark.parametrize(("value", "beyond"), [(60.0, True), (59.9, None), (57.0, None), (56.9, False)])
def test_beyond_is_undecided_in_the_deadband(value: float, beyond: bool | None) -> None:
    assert Limit(60.0, deadband=3).beyond(value) is beyond
