"""All alarms of a node: which exist, their revisions, what is published of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.alert.machine import Machine, Raise, Transition
from services.alert.rules import Rule
from services.alert.watch import Finding
from services.bus.messages import SEVERITIES, format_time

MAX_CHANNELS: Final = 60  # of one rule in its retained message: a payload may have 64 KiB
Key = tuple[str, str]  # device, rule: one retained topic


@dataclass(frozen=True, slots=True)
class Change:
    """One event to publish. `time` [s since 1970] and `mono` [s]: when it happened."""

    device: str
    rule: str
    channel: str
    type: str
    occurrence: str | None
    revision: int
    by: str | None
    reason: str | None
    time: float
    mono: float
    alarm: dict[str, Any]

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def fields(self) -> dict[str, Any]:
        """The event message, but for boot and seq."""
        return {
            "ts": _iso(self.time),
            "mono": self.mono,
            "type": self.type,
            "occurrence": self.occurrence,
            "revision": self.revision,
            "by": self.by,
            "reason": self.reason,
            "alarm": self.alarm,
        }

    to_dict = asdict


def _iso(time: float | None) -> str | None:
    return None if time is None else format_time(datetime.fromtimestamp(time, UTC))


def alarm_fields(m: Machine) -> dict[str, Any]:
    """A machine as the fields of an Alarm message."""
    return {
        "state": m.state,
        "occurrence": m.occurrence,
        "active": m.active,
        "acknowledged": m.acknowledged,
        "latched": m.latched,
        "shelved_until": _iso(m.shelved_until),
        "severity": m.severity,
        "raised_at": _iso(m.raised_at),
        "cleared_at": _iso(m.cleared_at),
        "count": m.count,
        "text": m.text,
        "evidence": m.evidence,
    }


def rank(m: Machine) -> tuple[bool, bool, int, bool, float]:
    """Sorts alarms by what a person must see first (the greatest is the worst)."""
    return m.annunciated, m.active or m.latched, SEVERITIES.index(m.severity), not m.acknowledged, m.raised_at or 0.0


def describe(rule: Rule, device: str, finding: Finding) -> str:
    """The alarm's text: the rule's template filled in."""

    def number(value: float | None) -> str:
        return "none" if value is None else f"{value:.{rule.digits}f}"

    return rule.text.format(
        value=number(finding.value),
        limit=number(finding.limit),
        unit=rule.unit,
        channel=finding.channel,
        device=device,
        quality=finding.quality,
        rule=rule.name,
    )


class Register:
    """The alarms.

    Args:
        node: goes into the occurrence ids.
        rules: by name.
    """

    def __init__(self, node: str, rules: Mapping[str, Rule]) -> None:
        self._node, self._rules = node, rules
        self.alarms: dict[Key, dict[str, Machine]] = {}
        self.revisions: dict[Key, int] = {}

    def machine(self, device: str, rule: str, channel: str) -> Machine:
        """The alarm, made when it is first asked for."""
        channels = self.alarms.setdefault((device, rule), {})
        if channel not in channels:
            r = self._rules[rule]
            channels[channel] = Machine((self._node, device, rule, channel), r.severity, r.latch, r.shelf_s)
        return channels[channel]

    def apply(self, device: str, rule: str, finding: Finding, mono: float) -> list[Change]:
        """Tell the alarm what its condition found."""
        machine = self.machine(device, rule, finding.channel)
        time = finding.time.timestamp()
        if not finding.active:
            return self.record(device, rule, finding.channel, machine.condition_false(time), time, mono)
        r = self._rules[rule]
        evidence = {
            "channel": finding.channel,
            "value": finding.value,
            "limit": finding.limit,
            "unit": r.unit,
            "sample": finding.sample.model_dump() if finding.sample else None,
            "window": finding.window.model_dump() if finding.window else None,
            "quality": finding.quality,
        }
        boot, seq = (finding.sample.boot, finding.sample.seq) if finding.sample else ("", 0)
        cause = Raise(time, boot, seq, finding.severity, describe(r, device, finding), evidence)
        return self.record(device, rule, finding.channel, machine.condition_true(cause), time, mono)

    def record(
        self, device: str, rule: str, channel: str, transitions: Iterable[Transition], time: float, mono: float
    ) -> list[Change]:
        """Number the transitions of one alarm and make them events."""
        machine, changes = self.alarms[device, rule][channel], []
        for t in transitions:
            revision = self.revisions[device, rule] = self.revisions.get((device, rule), 0) + 1
            changes.append(
                Change(
                    device, rule, channel, t.type, machine.occurrence, revision, t.by, t.reason, time, mono,
                    alarm_fields(machine),
                )
            )  # fmt: skip
        return changes

    def tick(self, wall: float, elapsed_s: float, mono: float) -> list[Change]:
        """End shelves whose time is over."""
        changes: list[Change] = []
        for (device, rule), channels in self.alarms.items():
            for channel, machine in channels.items():
                if machine.shelved_until is not None:
                    changes += self.record(device, rule, channel, machine.tick(wall, elapsed_s), wall, mono)
        return changes

    def suppress(self, device: str, rule: str, channel: str, why: str | None, wall: float, mono: float) -> list[Change]:
        """Suppress an alarm by design (`why`), or end that (None)."""
        machine = self.machine(device, rule, channel)
        transitions = machine.unsuppress() if why is None else machine.suppress(why)
        return self.record(device, rule, channel, transitions, wall, mono)

    def annunciated(self) -> list[tuple[str, str, str, Machine]]:
        """(device, rule, channel, alarm) of what a person must see, worst first; a drill behind everything real."""
        found = [(d, r, c, m) for (d, r), cs in self.alarms.items() for c, m in cs.items() if m.annunciated]
        drills = {rule.name for rule in self._rules.values() if rule.kind == "drill"}
        return sorted(found, key=lambda item: (item[1] not in drills, rank(item[3])), reverse=True)

    def status(self, device: str, rule: str) -> dict[str, Any]:
        """The retained alarm message, but for boot: the worst of the rule's alarms, and the others by channel."""
        channels = self.alarms[device, rule]
        worst = max(channels.values(), key=rank)
        fields = alarm_fields(worst) | {"revision": self.revisions.get((device, rule), 0)}
        if len(channels) > 1 or any(c.endswith("]") for c in channels):
            first = sorted(channels, key=lambda c: rank(channels[c]), reverse=True)[:MAX_CHANNELS]
            fields["alarms"] = {c: alarm_fields(channels[c]) for c in first}
        return fields

    # --- restart ----------------------------------------------------------------------------------------------------

    def to_list(self) -> list[Any]:
        return [
            [device, rule, self.revisions.get((device, rule), 0), {c: m.to_dict() for c, m in channels.items()}]
            for (device, rule), channels in self.alarms.items()
        ]

    def restore(self, state: list[Any], time: float, mono: float) -> list[Change]:
        """Take over the alarms of an earlier run. An alarm whose rule is gone ends: nobody watches it any more."""
        changes: list[Change] = []
        for device, rule, revision, channels in state:
            known = self._rules.get(rule)
            latch, shelf_s = (known.latch, known.shelf_s) if known else (False, 0.0)
            self.revisions[device, rule] = revision
            self.alarms[device, rule] = {
                c: Machine.from_dict(m, (self._node, device, rule, c), latch, shelf_s) for c, m in channels.items()
            }
            if known is None:
                for channel, machine in self.alarms[device, rule].items():
                    over = machine.condition_false(time)
                    machine.latched, machine.acknowledged, machine.suppressed = False, True, False
                    machine.shelved_until, machine.out_of_service = None, False
                    gone = [Transition(t.type, None, "its rule was removed") for t in over]
                    changes += self.record(device, rule, channel, gone, time, mono)
        return changes
