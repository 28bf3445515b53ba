"""What a node's retained topics say, as tables for a terminal. Pure but for the table type."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rich.table import Table

from services.bus.messages import Alarm, AlarmStatus, Status
from services.bus.topics import Topic

MISSED_BEATS = 3


@dataclass(slots=True)
class Overview:
    """The retained states of one node, as they came."""

    statuses: dict[str, Status] = field(default_factory=dict)
    alarms: dict[Topic, AlarmStatus] = field(default_factory=dict)

    def take(self, topic: Topic, content: object) -> None:
        if isinstance(content, Status):
            self.statuses[topic.name] = content
        elif isinstance(content, AlarmStatus):
            self.alarms[topic] = content

    def standing(self) -> list[tuple[Topic, str | None, Alarm, int]]:
        """Alarms that are not normal, worst first: (topic, channel, alarm, revision)."""
        found: list[tuple[Topic, str | None, Alarm, int]] = []
        for topic, status in self.alarms.items():
            parts: list[tuple[str | None, Alarm]] = [*status.alarms.items()] or [(None, status)]
            found += [(topic, c, a, status.revision) for c, a in parts if a.state != "normal"]
        order = ("critical", "high", "medium", "low")
        return sorted(found, key=lambda item: (not item[2].active, order.index(item[2].severity)))


def condition(status: Status, now: datetime) -> str:
    """`online`, `offline`, or `silent for ..`: a broker goes on showing what a dead process said last."""
    if status.state == "online" and status.ts is not None and status.heartbeat_s is not None:
        age = (now - status.ts).total_seconds()
        if age > MISSED_BEATS * status.heartbeat_s:
            return f"silent for {age:.0f} s"
    return status.state


TROUBLE = ("rejected", "journal_failing", "journal_lost", "skipped", "late", "publish_refused", "connect_refused")


def status_table(overview: Overview, node: str, now: datetime) -> Table:
    table = Table("service", "state", "version", "clock", "troubles", title=f"node {node}", title_justify="left")
    for name, status in sorted(overview.statuses.items()):
        troubles = {k: v for k, v in status.counters.items() if k in TROUBLE and v}
        table.add_row(
            name,
            condition(status, now),
            status.version or "",
            status.time_source or "",
            ", ".join(f"{k} {v:g}" for k, v in troubles.items()),
        )
    return table


def alarm_table(standing: Iterable[tuple[Topic, str | None, Alarm, int]]) -> Table:
    table = Table("device", "rule", "severity", "state", "since", "what")
    for topic, _, alarm, _ in standing:
        since = f"{alarm.raised_at:%Y-%m-%d %H:%M:%S}" if alarm.raised_at else ""
        table.add_row(topic.device, topic.name, alarm.severity, alarm.state.replace("_", " "), since, alarm.text)
    return table
