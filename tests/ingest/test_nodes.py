"""Signs of life, and two installations under one name."""

from datetime import UTC, datetime, timedelta

from services.bus.messages import Status
from services.ingest.nodes import Heartbeats, Installations

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def status(age_s: float = 0.0, session: str = "c1", state: str = "online") -> Status:
    fields = {"state": state, "session": session, "ts": NOW - timedelta(seconds=age_s), "heartbeat_s": 10.0}
    return Status.model_validate(fields)


def test_a_retained_status_of_a_dead_node_is_no_sign_of_life() -> None:
    beats = Heartbeats()
    beats.heard("pi", "sensor", status(age_s=3600), 100.0, NOW)
    assert not beats.fresh("pi", "sensor", 100.0)
    beats.heard("pi", "sensor", status(age_s=3600), 105.0, NOW)  # again, after a reconnection
    assert not beats.fresh("pi", "sensor", 105.0)


def test_a_node_with_a_wrong_clock_lives_from_its_second_heartbeat_and_is_silent_after_three() -> None:
    beats = Heartbeats()
    beats.heard("pi", "sensor", status(age_s=1e9), 100.0, NOW)
    beats.heard("pi", "sensor", status(age_s=1e9 - 10), 110.0, NOW)
    assert beats.fresh("pi", "sensor", 139.0)
    assert not beats.fresh("pi", "sensor", 140.0)


def test_the_will_of_an_earlier_session_is_ignored() -> None:
    beats = Heartbeats()
    beats.heard("pi", "sensor", status(session="new"), 100.0, NOW)
    assert not beats.heard("pi", "sensor", status(session="old", state="offline"), 101.0, NOW)
    assert beats.fresh("pi", "sensor", 102.0)
    assert beats.heard("pi", "sensor", status(session="new", state="offline"), 103.0, NOW)
    assert not beats.fresh("pi", "sensor", 103.0)


def test_a_replaced_installation_is_no_conflict_and_two_that_alternate_are() -> None:
    seen = Installations(quiet_s=600)
    assert [seen.heard("pi", name, at) for at, name in enumerate(["a", "a", "b", "b"])] == [[]] * 4
    assert seen.heard("pi", "a", 5.0) == ["a", "b"]
    assert seen.heard("attic", "a", 5.0) == []
    assert seen.over(604.0) == []
    assert seen.over(605.0) == ["pi"]
    assert seen.heard("pi", "a", 606.0) == []


def test_a_conflict_known_before_a_restart_ends_when_it_is_quiet_and_goes_on_while_it_is_not() -> None:
    gone, there = Installations(quiet_s=600), Installations(quiet_s=600)
    for seen in (gone, there):
        seen.resume("pi", 0.0)
        assert seen.over(599.0) == []
    assert [there.heard("pi", name, at) for name, at in (("a", 597.0), ("b", 598.0), ("a", 599.0))][-1] == ["a", "b"]
    assert (gone.over(600.0), there.over(600.0)) == (["pi"], [])
    assert there.over(1199.0) == ["pi"]


def test_an_installation_that_comes_back_after_a_long_time_is_no_conflict() -> None:
    seen = Installations(quiet_s=600)
    for at, name in ((0.0, "a"), (1.0, "b")):
        seen.heard("pi", name, at)
    assert seen.heard("pi", "a", 10_000.0) == []
