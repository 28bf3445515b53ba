"""What is shown as true now is true now, whatever the samples' own times say."""

import pytest

from services.bus.life import is_recent
from services.bus.messages import Replay
from services.dashboard.staleness import Freshness, ServiceLife, duration, freshness, silence_limit_s
from tests.dashboard.conftest import START, offline, online


def judge(now: float, arrived: float | None, sensor: ServiceLife | None, cut_since: float | None = None) -> Freshness:
    return freshness(now, cut_since=cut_since, sensor=sensor, arrived=arrived, period_s=1.0, connected_at=0.0)


def test_samples_that_arrive_are_live_and_then_not() -> None:
    sensor = ServiceLife(online(), 0.0, True)
    assert judge(1.0, 0.5, sensor) == Freshness("live", "live", 0.5)
    assert judge(5.4, 0.5, sensor).current
    stale = judge(5.6, 0.5, sensor)
    assert (stale.state, stale.reason, stale.current) == ("stale", "no sample for 5 s", False)
    assert judge(1.0, None, sensor).state == "waiting"


@pytest.mark.parametrize(("period_s", "limit"), [(None, 5.0), (1.0, 5.0), (10.0, 30.0), (0.1, 5.0)])
def test_silence_is_five_seconds_or_three_periods(period_s: float | None, limit: float) -> None:
    assert silence_limit_s(period_s) == limit


def test_a_will_of_the_present_session_makes_stale_at_once_and_an_old_one_does_not() -> None:
    sensor = ServiceLife(online("new"), 0.0, True)
    assert not sensor.take(offline("old"), 1.0)
    assert judge(1.0, 0.9, sensor).state == "live"
    assert sensor.take(offline("new"), 1.0)
    assert judge(1.0, 0.9, sensor).reason == "the sensor service is offline"
    assert sensor.status.version == "0.1.0"  # what it last said is kept
    assert sensor.take(online("newer"), 2.0)
    assert judge(2.0, 1.9, sensor).state == "live"


def test_three_missed_heartbeats_are_silence() -> None:
    sensor = ServiceLife(online(), 0.0, True)
    assert sensor.life(29.0, 0.0) == "online"
    assert sensor.life(31.0, 0.0) == "silent"
    assert judge(31.0, 30.9, sensor).reason == "the sensor service has been silent for 31 s"


def test_a_retained_online_proves_nothing_until_another_comes() -> None:
    first = online()
    service = ServiceLife(first, 0.0, False)
    assert service.life(1.0, 0.0) == "unconfirmed"
    service.take(first, 2.0)  # the broker's copy once more, after a reconnect
    assert service.life(2.0, 0.0) == "unconfirmed"
    service.take(online(beat=10), 3.0)
    assert service.life(3.0, 0.0) == "online"


def test_a_first_status_counts_if_its_own_time_is_recent() -> None:
    status = online()
    assert status.ts is not None
    assert is_recent(status, status.ts)
    assert not is_recent(status, START)
    assert not is_recent(offline(), status.ts)


def test_what_we_missed_while_cut_off_is_not_held_against_a_service() -> None:
    service = ServiceLife(online(), 0.0, True)
    assert service.life(100.0, 95.0) == "online"
    assert service.life(126.0, 95.0) == "silent"


def test_without_broker_everything_is_stale() -> None:
    stale = judge(12.0, 11.9, ServiceLife(online(), 0.0, True), cut_since=2.0)
    assert (stale.state, stale.reason) == ("stale", "no connection to the broker for 10 s")


def test_a_finished_recording_is_finished_and_not_stale_until_its_sensor_goes() -> None:
    replay = Replay(file="car1.parquet", rows=66666, published=66666, finished=True)
    sensor = ServiceLife(online(replay=replay), 0.0, True)
    done = judge(25.0, 1.0, sensor)
    assert (done.state, done.current, done.age_s) == ("finished", True, 24.0)
    assert "66666 rows" in done.reason
    sensor.take(offline(), 26.0)
    assert judge(26.0, 1.0, sensor).state == "stale"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
