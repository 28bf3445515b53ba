"""Threads that measure: on the rows' grid or as fast as they can, whatever a round does."""

import logging
import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor.pi.worker import Worker
from services.sensor.source import Reading


def worker(period_s: float, lead: float | None) -> Worker:
    return Worker("w", period_s, lead, list, list, lambda readings: None)


@given(st.floats(0.05, 60), st.floats(0, 0.5), st.floats(0, 1e6), st.floats(0, 200))
def test_a_round_begins_before_the_rows_grid_and_late_ones_skip(
    period: float, lead: float, begun: float, took: float
) -> None:
    now = begun + took
    at = now + worker(period, lead)._pause(begun, now)
    phase = (at + lead * period) / period
    assert abs(phase - round(phase)) * period < 1e-3
    assert at >= now
    assert at - begun >= 0.49 * period
    assert at <= max(now, begun + 0.5 * period) + period + 1e-3


@given(st.floats(0.05, 60), st.floats(0, 1e6), st.floats(0, 200))
def test_a_probe_that_is_slower_than_its_period_goes_on_at_once(period: float, begun: float, took: float) -> None:
    pause = worker(period, None)._pause(begun, begun + took)
    assert 0 < pause <= period + 1e-6
    assert took > period or took + pause == pytest.approx(max(period, took + 0.02), abs=1e-3)


def test_a_round_that_raises_is_a_fault_of_its_channels_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Reading] = []
    enough = threading.Event()

    def measure() -> Sequence[Reading]:
        raise RuntimeError("a bug")

    def put(readings: Sequence[Reading]) -> None:
        got.extend(readings)
        if len(got) >= 5:
            enough.set()

    failed = Reading("pack-1", 0.0, {}, {"voltage": "driver"})
    with caplog.at_level(logging.ERROR):
        measuring = Worker("i2c", 0.02, 0.25, measure, lambda: [failed], put)
        measuring.start()
        assert enough.wait(10)
        measuring.stop()
        measuring.join(10)
    assert not measuring.is_alive()
    assert got[:5] == [failed] * 5
    assert [r.message for r in caplog.records] == ["i2c: a round failed"]


def test_a_round_that_hangs_does_not_keep_the_process_and_says_nothing_after_the_end() -> None:
    entered, release, got = threading.Event(), threading.Event(), list[Reading]()

    def measure() -> Sequence[Reading]:
        entered.set()
        release.wait(10)
        return [Reading("pack-1", time.monotonic(), {"voltage": 1.0})]

    measuring = Worker("w1 top", 0.02, None, measure, list, got.extend)
    measuring.start()
    assert entered.wait(10)
    measuring.stop()
    assert measuring.daemon
    release.set()
    measuring.join(10)
    assert got == []


def test_a_round_comes_at_once_when_its_time_has_come_by_another_pace() -> None:
    begun = threading.Semaphore(0)

    def measure() -> Sequence[Reading]:
        begun.release()
        return []

    measuring = Worker("i2c", 0.05, 0.25, measure, list, lambda readings: None)
    measuring.start()
    assert all(begun.acquire(timeout=10) for _ in range(3))
    measuring.pace(3600.0)
    while begun.acquire(timeout=0.5):  # a round may have begun already
        pass
    measuring.pace(0.05)
    assert all(begun.acquire(timeout=10) for _ in range(3))
    measuring.stop()
    measuring.join(10)
    assert not measuring.is_alive()
