"""What is a sign of life."""

from datetime import UTC, datetime, timedelta

import pytest

from services.bus.life import heartbeat_s, is_recent, repeats
from services.bus.messages import Status

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def status(age_s: float = 0.0, session: str = "c1", state: str = "online", every_s: float | None = 5.0) -> Status:
    fields = {"state": state, "session": session, "ts": NOW - timedelta(seconds=age_s), "heartbeat_s": every_s}
    return Status.model_validate(fields)


def test_a_further_status_is_a_sign_of_life_by_its_session_or_time() -> None:
    assert repeats(status(3600), status(3600))
    assert not repeats(status(3595), status(3600))
    assert not repeats(status(3600, "c2"), status(3600, "c1"))


@pytest.mark.parametrize(
    ("shown", "recent"),
    [(status(14.9), True), (status(15.0), False), (status(-14.9), True), (status(-1e6), False)],
)
def test_a_first_status_is_recent_within_three_heartbeats(shown: Status, recent: bool) -> None:
    assert is_recent(shown, NOW) is recent


def test_what_is_offline_or_has_no_time_is_not_recent() -> None:
    assert not is_recent(status(state="offline"), NOW)
    assert not is_recent(Status(state="online", session="c1"), NOW)


def test_a_status_that_does_not_say_how_often_has_a_default() -> None:
    assert (heartbeat_s(status()), heartbeat_s(status(every_s=None))) == (5.0, 10.0)
