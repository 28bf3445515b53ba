"""Rows are in the order of need, and the banner is green only when somebody watches."""

from datetime import timedelta
from typing import Any

import pytest

from services.bus.messages import SEVERITIES, AlarmStatus
from services.dashboard.alarms import AlarmRow, banner, channel_words, rows
from services.dashboard.staleness import Freshness, Life
from tests.dashboard.conftest import START, alarm, one_alarm

LIVE = Freshness("live", "live", 0.2)
KEY = ("pi", "pack-1")


def row(**changed: Any) -> AlarmRow:
    return AlarmRow("pi", "pack-1", "cell_over_voltage", None, 3, one_alarm(**changed))


def listed(**named: AlarmStatus) -> list[str]:
    return [r.rule for r in rows((KEY, rule, status, False) for rule, status in named.items())]


def test_what_needs_a_person_comes_first_and_worst_first() -> None:
    cleared: dict[str, Any] = {"state": "normal", "active": False, "acknowledged": True}
    order = listed(
        old=alarm(**cleared, cleared_at=START),
        newer=alarm(**cleared, cleared_at=START + timedelta(hours=1)),
        never=alarm(**cleared, raised_at=None, count=0),
        shelved=alarm(state="shelved"),
        returned=alarm(state="rtn_unacknowledged", active=False, severity="critical"),
        acknowledged=alarm(state="acknowledged_active", acknowledged=True),
        medium=alarm(severity="medium"),
        high=alarm(),
    )
    assert order == ["high", "acknowledged", "medium", "returned", "shelved", "newer", "old"]


def test_a_rule_over_several_channels_is_a_row_each_named_for_commands() -> None:
    several = alarm(alarms={"cell_voltages[7]": one_alarm().model_dump(), "voltage": one_alarm().model_dump()})
    found = rows([(KEY, "missing_data", several, False)])
    assert {(r.channel, r.title) for r in found} == {
        ("cell_voltages[7]", "Missing data: cell 8"),
        ("voltage", "Missing data: voltage"),
    }
    assert len({r.key for r in found}) == 2


def test_words_of_channels_count_from_one() -> None:
    assert channel_words("cell_voltages[0]") == "cell 1"
    assert channel_words("temperatures[2]") == "probe 3"
    assert channel_words("temperature_max") == "temperature max"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_an_active_alarm_says_severity_value_limit_and_since_when(severity: str) -> None:
    b = banner([row(severity=severity)], LIVE, "online")
    assert b.word == f"{severity.upper()} ALARM"
    assert b.tone == ("red" if severity in ("high", "critical") else "amber")
    assert b.text == "Highest cell 4.300 V, limit 4.250 V"
    assert "since 2021-05-05 09:10:00 UTC" in b.detail.lower().replace("utc", "UTC")
    assert "not acknowledged" in b.detail


def test_a_text_without_numbers_is_given_its_evidence() -> None:
    assert row(text="Cell too high").said == "Cell too high: cell voltage max 4.3 V, limit 4.25 V"
    assert row(text="").said.startswith("Cell over voltage: ")


def test_a_cleared_alarm_that_nobody_acknowledged_stays_in_sight() -> None:
    gone = row(state="rtn_unacknowledged", active=False, cleared_at=START + timedelta(minutes=1))
    b = banner([gone], LIVE, "online")
    assert (b.tone, b.word) == ("amber", "ALARM HAS CLEARED")
    assert "cleared 2021-05-05 09:11:00 UTC" in b.detail
    assert gone.may_acknowledge


def test_a_latched_alarm_stays_red_and_is_reset_after_the_acknowledge() -> None:
    latched = row(state="latched_unacknowledged", active=False, latched=True, severity="critical")
    assert banner([latched], LIVE, "online").word == "ALARM LATCHED"
    assert (latched.tone, latched.may_acknowledge, latched.may_reset) == ("red", True, False)
    done = row(state="latched_acknowledged", active=False, latched=True, acknowledged=True)
    assert (done.may_acknowledge, done.may_reset) == (False, True)


@pytest.mark.parametrize(
    ("fresh", "alert", "word"),
    [
        (LIVE, "online", "NORMAL"),
        (LIVE, None, "NOT WATCHED"),
        (LIVE, "offline", "NOT WATCHED"),
        (LIVE, "silent", "NOT WATCHED"),
        (LIVE, "unconfirmed", "CHECKING"),
        (Freshness("stale", "no sample for 9 s", 9.0), "online", "UNKNOWN"),
        (Freshness("waiting", "no sample yet", None), "online", "WAITING"),
        (Freshness("finished", "recording finished: a.csv, 3 rows", 90.0), "online", "NORMAL"),
    ],
)
def test_green_only_with_live_values_and_a_live_judge(fresh: Freshness, alert: Life | None, word: str) -> None:
    b = banner([], fresh, alert)
    assert b.word == word
    assert (b.tone == "green") == (word == "NORMAL")


def test_a_standing_alarm_outweighs_stale_values_and_says_so() -> None:
    b = banner([row()], Freshness("stale", "no sample for 9 s", 9.0), "silent")
    assert b.word == "HIGH ALARM"
    assert "may be old: no sample for 9 s" in b.detail


def test_a_hidden_alarm_does_not_colour_the_banner() -> None:
    assert banner([row(state="shelved")], LIVE, "online").tone == "green"
