"""What `status` and `alarms` tell of a node."""

from datetime import UTC, datetime, timedelta

from services.bus.messages import Alarm, AlarmStatus, Status
from services.bus.topics import Topic
from services.console.overview import Overview, condition

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def alarm(rule: str, severity: str, *, active: bool, **parts: Alarm) -> tuple[Topic, AlarmStatus]:
    state = "unacknowledged_active" if active else "rtn_unacknowledged"
    content = {"boot": "0" * 16, "revision": 1, "state": state, "active": active, "severity": severity, "alarms": parts}
    return Topic("pi", "pack-1", "alarm", rule), AlarmStatus.model_validate(content)


def test_active_alarms_come_first_and_the_worst_of_them_at_the_top() -> None:
    overview = Overview()
    for item in (
        alarm("cell_spread", "critical", active=False),
        alarm("anomaly", "medium", active=True),
        alarm("over_temperature", "critical", active=True),
    ):
        overview.take(*item)
    assert [topic.name for topic, *_ in overview.standing()] == ["over_temperature", "anomaly", "cell_spread"]


def test_a_rule_with_channels_lists_each_and_leaves_out_the_normal_ones() -> None:
    overview = Overview()
    hot = Alarm(state="acknowledged_active", active=True, severity="high")
    overview.take(
        *alarm(
            "missing_data", "high", active=True, soc=hot, voltage=Alarm(state="normal", active=False, severity="high")
        )
    )
    assert [channel for _, channel, *_ in overview.standing()] == ["soc"]


def test_a_retained_online_of_a_dead_process_is_silence() -> None:
    status = Status(state="online", session="s", ts=NOW, heartbeat_s=10)
    assert condition(status, NOW + timedelta(seconds=29)) == "online"
    assert condition(status, NOW + timedelta(seconds=31)) == "silent for 31 s"
    assert condition(status.model_copy(update={"state": "offline"}), NOW) == "offline"
