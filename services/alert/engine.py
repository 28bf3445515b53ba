"""The whole decision of the alert service: messages and time in, alarm changes out. Pure.

The same messages in the same order give the same changes, whatever the clock does, but for the silence rules, which are
about the receiver's own time. `to_dict` holds everything, so a service that was killed goes on where it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from services.alert.commands import carry_out, expired
from services.alert.judge import EstimateWatch, ScoreWatch
from services.alert.liveness import Life, Liveness
from services.alert.register import Change, Register
from services.alert.rules import EstimateRule, RuleSet, ScoreRule
from services.alert.stream import Stream
from services.alert.watch import Finding
from services.bus.messages import Acknowledge, Estimate, Estimated, Layout, Model, Reply, Sample, Score, Status
from services.bus.topics import NODE_DEVICE, Topic

REPLIES: Final = 256  # remembered results of commands: the same command again gets the same answer
ALL: Final = "*"
DRILL: Final = "drill"  # the channel of the test alarm


@dataclass(frozen=True, slots=True)
class Now:
    """The receiver's clocks: `mono` steady [s], `wall` s since 1970."""

    mono: float
    wall: float


@dataclass(slots=True)
class Engine:
    """Rules, conditions and alarms of one node (or, in the cloud, of all nodes' services).

    Args:
        node: under whose name alarms are published.
        started: steady clock at start [s].
        cloud: watches services of all nodes; sees no telemetry.
    """

    node: str
    rules: RuleSet
    started: float
    cloud: bool = False
    register: Register = field(init=False)
    liveness: Liveness = field(init=False)
    streams: dict[tuple[str, str], Stream] = field(default_factory=dict)  # (device, profile)
    judges: dict[tuple[str, str], ScoreWatch | EstimateWatch] = field(default_factory=dict)  # (device, rule)
    estimates: dict[tuple[str, str], Mapping[str, Estimated]] = field(default_factory=dict)  # the last, for the display
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)  # by correlation id
    _ticked: float = field(init=False)

    def __post_init__(self) -> None:
        self.register = Register(self.node, self.rules.by_name())
        self.liveness = Liveness(self.rules.watch, self.node, "alert", self.started, self.cloud)
        self._ticked = self.started

    # --- messages ---------------------------------------------------------------------------------------------------

    def take(self, topic: Topic, message: Model, now: Now) -> list[Change]:
        """Judge one message of a stream, or learn from a layout or status."""
        device = topic.device
        match message:
            case Sample():
                self.liveness.telemetry(device, topic.name, now.mono, next_s=message.next_s)
                return self._apply(device, self.stream(device, topic.name).take(message), message.mono)
            case Score():
                return self._apply(device, self._scored(device, topic.name, message), message.mono)
            case Estimate():
                return self._apply(device, self._estimated(device, topic.name, message), message.mono)
            case Layout() if topic.name == message.profile:
                self.stream(device, topic.name).set_layout(message)
                self.liveness.telemetry(device, topic.name, now.mono, message.period_s)
            case Status():
                self.liveness.status(topic, message, now.mono)
        return []

    def stream(self, device: str, profile: str) -> Stream:
        key = (device, profile)
        if key not in self.streams:
            self.streams[key] = Stream(self.rules.profiles.get(profile, ()))
        return self.streams[key]

    def _scored(self, device: str, model: str, score: Score) -> list[tuple[str, Finding]]:
        found = []
        for rule in self.rules.profiles.get(score.profile, ()):
            if isinstance(rule, ScoreRule) and rule.model == model:
                watch = self.judges.setdefault((device, rule.name), ScoreWatch(rule))
                found += [(rule.name, f) for f in watch.take(score)]  # type: ignore[arg-type]
        return found

    def _estimated(self, device: str, profile: str, estimate: Estimate) -> list[tuple[str, Finding]]:
        self.estimates[device, profile] = estimate.values
        found = []
        for rule in self.rules.profiles.get(profile, ()):
            if isinstance(rule, EstimateRule):
                watch = self.judges.setdefault((device, rule.name), EstimateWatch(rule))
                found += [(rule.name, f) for f in watch.take(estimate)]  # type: ignore[arg-type]
        return found

    def _apply(self, device: str, found: Iterable[tuple[str, Finding]], mono: float) -> list[Change]:
        changes: list[Change] = []
        for rule, finding in found:
            changes += self.register.apply(device, rule, finding, mono)
        return changes

    # --- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: Now, connected: bool) -> list[Change]:
        """Silence, and shelves that end. Call it about once a second."""
        elapsed, self._ticked = now.mono - self._ticked, now.mono
        changes = self.register.tick(now.wall, elapsed, now.mono)
        for life in self.liveness.look(now.mono, connected):
            changes += self._alive(life, now)
        if connected:
            for (device, profile), silence in self.liveness.streams.items():
                if silence.last is not None and silence.update(now.mono) and (device, profile) in self.streams:
                    changes += self._apply(device, self.streams[device, profile].silent(), now.mono)
        return changes

    def _alive(self, life: Life, now: Now) -> list[Change]:
        device, rule, channel = life.device, life.rule.name, life.channel
        known = channel in self.register.alarms.get((device, rule), {})
        if life.silent is None or not (life.silent or known):
            return []
        changes: list[Change] = []
        machine = self.register.machine(device, rule, channel)
        if life.suppressed and life.silent:
            changes += self.register.suppress(device, rule, channel, life.suppressed, now.wall, now.mono)
        if life.silent != (machine.active or machine.waiting is not None):
            time = datetime.fromtimestamp(now.wall, UTC)
            severity, age = life.rule.severity, life.age_s
            finding = Finding(channel, life.silent, severity, age, life.limit_s, life.quality, time, None)
            changes += self.register.apply(device, rule, finding, now.mono)
        if machine.suppressed and not (life.suppressed and life.silent):
            changes += self.register.suppress(device, rule, channel, None, now.wall, now.mono)
        return changes

    def alarms_of_outputs(self) -> set[str]:
        """Outputs about which there is an alarm."""
        rules = [rule.name for rule in self.rules.watch if rule.kind == "output"]
        return {channel for rule in rules for channel in self.register.alarms.get((NODE_DEVICE, rule), ())}

    def counters(self) -> dict[str, int]:
        """What was set aside so far."""
        out_of_order = sum(stream.out_of_order for stream in self.streams.values())
        return {"stale_wills": self.liveness.stale_wills, "out_of_order": out_of_order}

    # --- commands ---------------------------------------------------------------------------------------------------

    def command(self, device: str, command: Acknowledge, now: Now) -> tuple[Reply, list[Change]]:
        """Carry out a person's command, once; the same correlation id again gets the same answer."""
        known = self.replies.get(command.correlation_id)
        if known is not None:
            return Reply.model_validate(known), []
        if expired(command, now.wall):
            reply, changes = _refuse(command, "the command has expired"), list[Change]()
        elif command.action == "drill":
            reply, changes = self._drill(command, now)
        elif command.rule == ALL:
            reply, changes = self._all(device, command, now)
        else:
            reply, changes = self._one(device, command, now)
        self.replies[command.correlation_id] = reply.model_dump()
        while len(self.replies) > REPLIES:
            del self.replies[next(iter(self.replies))]
        return reply, changes

    def _one(self, device: str, command: Acknowledge, now: Now) -> tuple[Reply, list[Change]]:
        channels = self.register.alarms.get((device, command.rule), {})
        revision = self.register.revisions.get((device, command.rule), 0)
        channel = command.channel
        if channel is None:  # the alarm that it names, or the only one
            named = [c for c, m in channels.items() if command.occurrence and m.occurrence == command.occurrence]
            channel = next(iter(named or channels), None)
        if channel is None or channel not in channels:
            return _refuse(command, f"no alarm {command.rule} of {device}"), []
        try:
            transitions = carry_out(command, channels[channel], revision, now.wall)
        except ValueError as error:
            return _refuse(command, str(error), revision), []
        changes = self.register.record(device, command.rule, channel, transitions, now.wall, now.mono)
        revision = self.register.revisions.get((device, command.rule), 0)
        return Reply(correlation_id=command.correlation_id, status="done", revision=revision), changes

    def _all(self, device: str, command: Acknowledge, now: Now) -> tuple[Reply, list[Change]]:
        """Acknowledge everything of a device that is not worse than what the person saw."""
        if command.action != "acknowledge":
            return _refuse(command, f"{ALL} is for acknowledge only"), []
        changes: list[Change] = []
        left: list[str] = []
        for (of, rule), channels in self.register.alarms.items():
            for channel, machine in channels.items() if of == device else ():
                if machine.acknowledged or machine.occurrence is None:
                    continue
                one = command.model_copy(update={"rule": rule, "occurrence": machine.occurrence, "revision": None})
                try:
                    transitions = carry_out(one, machine, 0, now.wall)
                except ValueError as error:
                    left.append(f"{rule} {channel}: {error}")
                else:
                    changes += self.register.record(device, rule, channel, transitions, now.wall, now.mono)
        if left and not changes:
            return _refuse(command, "; ".join(left)[:400]), []
        reason = f"not acknowledged: {'; '.join(left)}"[:400] if left else None
        return Reply(correlation_id=command.correlation_id, status="done", reason=reason), changes

    def _drill(self, command: Acknowledge, now: Now) -> tuple[Reply, list[Change]]:
        """Raise the test alarm, unless a real one waits for somebody."""
        rule = next((r for r in self.rules.drills if r.name == command.rule), None)
        if rule is None:
            return _refuse(command, f"no rule {command.rule} of kind drill"), []
        waiting = [r for _, r, _, m in self.register.annunciated() if r != rule.name and not m.acknowledged]
        if waiting:
            return _refuse(command, f"a real alarm waits to be acknowledged: {waiting[0]}"), []
        if self.register.machine(NODE_DEVICE, rule.name, DRILL).active:
            return _refuse(command, "a drill is under way"), []
        time = datetime.fromtimestamp(now.wall, UTC)
        finding = Finding(DRILL, True, rule.severity, None, None, command.by, time, None)
        raised = self.register.apply(NODE_DEVICE, rule.name, finding, now.mono)
        if not raised:
            return _refuse(command, "drills are out of service"), []
        reply = Reply(correlation_id=command.correlation_id, status="done", revision=raised[-1].revision)
        return reply, [replace(change, type="drill", by=command.by, reason=command.reason) for change in raised]

    def end_drill(self, reason: str, now: Now) -> list[Change]:
        """The test alarm is over, and nobody has to acknowledge it."""
        changes: list[Change] = []
        for rule in self.rules.drills:
            machine = self.register.alarms.get((NODE_DEVICE, rule.name), {}).get(DRILL)
            if machine is not None and machine.active:
                over = [replace(t, by=None, reason=reason) for t in machine.condition_false(now.wall)]
                over += machine.acknowledge(DRILL, reason)
                changes += self.register.record(NODE_DEVICE, rule.name, DRILL, over, now.wall, now.mono)
        return changes

    # --- restart ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        return {
            "alarms": self.register.to_list(),
            "streams": [[device, profile, s.to_dict()] for (device, profile), s in self.streams.items()],
            "judges": [[device, rule, j.to_dict()] for (device, rule), j in self.judges.items()],
            "replies": self.replies,
        }

    def restore(self, state: dict[str, Any], now: Now) -> list[Change]:
        """Go on from the state of an earlier run; returns what ends because its rule was removed."""
        changes = self.register.restore(state["alarms"], now.wall, now.mono)
        for device, profile, stream in state["streams"]:
            self.stream(device, profile).restore(stream)
            self.liveness.telemetry(device, profile, now.mono, self.stream(device, profile).period_s)
        by_name = self.rules.by_name()
        for device, name, judge in state["judges"]:
            rule = by_name.get(name)
            if isinstance(rule, ScoreRule):
                self.judges[device, name] = ScoreWatch(rule)
            elif isinstance(rule, EstimateRule):
                self.judges[device, name] = EstimateWatch(rule)
            else:
                continue
            self.judges[device, name].restore(judge)
        self.replies = dict(state["replies"])
        return changes


def _refuse(command: Acknowledge, reason: str, revision: int | None = None) -> Reply:
    return Reply(correlation_id=command.correlation_id, status="refused", reason=reason, revision=revision)
