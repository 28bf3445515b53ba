"""Counted charge: exact where it can be, unsure where it must be."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.estimators.counter import GAP_S, Counter, passed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(-200, 200)), min_size=2, max_size=60))
def test_charge_is_the_trapezoids_of_the_current(steps: list[tuple[float, float]]) -> None:
    counter, t, by_hand, last = Counter(), 0.0, 0.0, None
    for dt, current in steps:
        t += dt
        counter.take(t, current, 0.0)
        if last is not None:
            by_hand += dt * (current + last) / 7200
        last = current
    assert counter.count.ah == pytest.approx(by_hand, abs=1e-9)
    assert counter.count.through >= abs(counter.count.ah) - 1e-9


def test_an_unknown_offset_grows_with_time_and_noise_does_not() -> None:
    counter = Counter()
    first = None
    for second in range(7201):
        counter.take(float(second), 1.0, 0.01)
        first = first or counter.count
    assert first is not None
    since = passed(first, counter.count)
    assert since.whole
    assert since.ah == pytest.approx(2.0)
    assert since.hours == pytest.approx(2.0)
    assert since.error == pytest.approx(math.hypot(0.02, 0.001), rel=0.01)  # 10 mA x 2 h, and 0.1 % of 2 Ah


def test_a_gap_breaks_the_count_and_says_so() -> None:
    counter = Counter()
    for second in range(100):
        counter.take(float(second), 3.0, 0.0)
    before = counter.count
    assert not counter.take(99 + GAP_S, 3.0, 0.0)
    assert counter.take(99 + 2 * GAP_S + 1, 3.0, 0.0)
    since = passed(before, counter.count)
    assert not since.whole
    assert since.error > passed(before, before).error


def test_a_reading_that_is_none_is_bridged_and_lost_time_is_a_gap() -> None:
    counter = Counter()
    counter.take(0.0, 2.0, 0.0)
    counter.take(10.0, None, 0.0)
    counter.take(20.0, 2.0, 0.0)
    assert counter.count.ah == pytest.approx(2.0 * 20 / 3600)
    counter.lose()
    counter.take(5000.0, 2.0, 0.0)
    assert counter.count.gaps == 1
    assert counter.count.ah == pytest.approx(2.0 * 20 / 3600)
