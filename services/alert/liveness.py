"""Who is silent: services, devices, nodes, the broker; which outputs fail. Pure; times: receiver's steady clock [s]."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.alert.rules import SilenceRule
from services.alert.silence import Silence
from services.bus.life import HEARTBEAT_S, heartbeat_s, repeats
from services.bus.messages import Status
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic

VIEWERS: Final = frozenset({"dashboard"})  # come and go as people look; nobody is unwatched without them
_SERVICE: Final = ("silent_service", "silent_node")


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of one watched thing now. `silent` None: cannot be said yet."""

    device: str
    rule: SilenceRule
    channel: str
    silent: bool | None
    age_s: float
    limit_s: float
    suppressed: str | None = None  # why it means nothing now
    quality: str = "good"  # what is wrong with it


@dataclass(slots=True)
class Liveness:
    """Keeps when each was heard last.

    Args:
        rules: the silence rules of this role.
        own: services that this process itself is (`alert` does not watch itself).
        cloud: watches all nodes; an alarm's device is then the node's name.
    """

    rules: Sequence[SilenceRule]
    node: str
    own: str
    started: float
    cloud: bool = False
    services: dict[tuple[str, str], Silence] = field(default_factory=dict)  # (node, service)
    beats: dict[tuple[str, str], float] = field(default_factory=dict)  # their heartbeat_s
    statuses: dict[tuple[str, str], Status] = field(default_factory=dict)  # the last `online` of each
    streams: dict[tuple[str, str], Silence] = field(default_factory=dict)  # (device, profile)
    periods: dict[tuple[str, str], float] = field(default_factory=dict)
    rests: dict[tuple[str, str], float] = field(default_factory=dict)  # the period that a resting device announced last
    outputs: dict[str, tuple[float, str] | None] = field(default_factory=dict)  # since when it fails, and why
    finished: bool = False  # the sensor's recording has ended: silence is by design
    _connected: bool = True
    _cut_since: float | None = None
    stale_wills: int = 0

    def __post_init__(self) -> None:
        self._connected, self._cut_since = False, self.started
        for rule in self.rules:
            for service in rule.expected if not self.cloud else ():
                self._service(self.node, service, self.started)

    def _service(self, node: str, service: str, now: float) -> Silence:
        key = (node, service)
        if key not in self.services:
            patience = max((r.start_delay_s for r in self.rules if r.kind in _SERVICE), default=30.0)
            self.services[key] = Silence(3 * HEARTBEAT_S, patience, now)
            self.beats[key] = HEARTBEAT_S
        return self.services[key]

    def status(self, topic: Topic, status: Status, now: float) -> None:
        """A heartbeat or a Last Will came.

        The first `online` of a service may be a dead one's retained copy: it makes the service known and no more, so
        that a standing alarm neither ends nor begins with our own restart. A repeated one says nothing at all.
        """
        if (topic.node, topic.name) == (self.node, self.own) or topic.name in VIEWERS:
            return
        key = (topic.node, topic.name)
        silence = self._service(*key, now)
        if status.state == "offline":
            self.stale_wills += not silence.will(status.session)
            return
        known, self.statuses[key] = self.statuses.get(key), status
        if known is None and not silence.offline:
            silence.introduce(status.session)
        elif known is None or not repeats(status, known):
            silence.heard(now, status.session)
        self.beats[key] = heartbeat_s(status)
        if topic.name == "sensor" and topic.node == self.node:
            self.finished = status.replay is not None and status.replay.finished

    def telemetry(
        self, device: str, profile: str, now: float, period_s: float | None = None, next_s: float | None = None
    ) -> None:
        """A sample came; or, with `period_s`, a layout: the device exists and should speak that often.

        `next_s`: what the sample says of when the next follows; without it the layout's period is true.
        """
        key = (device, profile)
        if key not in self.streams:
            patience = max((r.start_delay_s for r in self.rules if r.kind == "silent_telemetry"), default=30.0)
            self.streams[key] = Silence(5.0, patience, now)
        if period_s is not None:
            self.periods[key] = period_s
            return
        self.streams[key].heard(now)
        if next_s is None:
            self.rests.pop(key, None)
        else:
            self.rests[key] = next_s

    def output(self, name: str, fault: str | None, now: float) -> None:
        """What an output says of itself."""
        known = self.outputs.get(name)
        self.outputs[name] = None if fault is None else (known[0] if known else now, fault)

    def look(self, now: float, connected: bool) -> list[Life]:
        """The state of everything watched, at `now`."""
        if connected and not self._connected:
            for silence in (*self.services.values(), *self.streams.values()):
                silence.resume(now)
            self._cut_since = None
        elif not connected and self._cut_since is None:
            self._cut_since = now
        self._connected = connected
        found: list[Life] = []
        for rule in self.rules:
            match rule.kind:
                case "broker":
                    cut = 0.0 if self._cut_since is None else now - self._cut_since
                    limit = rule.at_least_s if self._cut_since != self.started else rule.start_delay_s
                    found.append(Life(NODE_DEVICE, rule, "broker", cut > limit, cut, limit))
                case "output":
                    found += self._failing(rule, now)
                case "silent_telemetry" if connected:
                    found += self._devices(rule, now)
                case "silent_service" if connected:
                    found += self._services(rule, now)
                case "silent_node" if connected:
                    found += self._nodes(rule, now)
        return found

    def _failing(self, rule: SilenceRule, now: float) -> list[Life]:
        found = []
        for name, failing in self.outputs.items():
            since, fault = failing or (now, "good")
            age, limit = now - since, rule.at_least_s
            silent = False if failing is None else age > limit or None  # not so long yet: nothing begins, nothing ends
            found.append(Life(NODE_DEVICE, rule, name, silent, age, limit, None, fault))
        return found

    def _devices(self, rule: SilenceRule, now: float) -> list[Life]:
        why = "the recording has ended" if self.finished else None
        found = []
        for key, silence in self.streams.items():
            period_s = max(self.periods.get(key, 1.0), self.rests.get(key, 0.0))
            silence.limit_s = max(rule.at_least_s, rule.periods * period_s)
            found.append(Life(key[0], rule, key[1], silence.update(now), silence.age(now), silence.limit_s, why))
        return found

    def _services(self, rule: SilenceRule, now: float) -> list[Life]:
        found = []
        for (node, service), silence in self.services.items():
            silence.limit_s = max(rule.at_least_s, rule.heartbeats * self.beats[node, service])
            why = (
                "the whole node is silent"
                if self.cloud and node != CLOUD_NODE and self._node_silent(node, now)
                else None
            )
            device = node if self.cloud else NODE_DEVICE
            found.append(Life(device, rule, service, silence.update(now), silence.age(now), silence.limit_s, why))
        return found

    def _nodes(self, rule: SilenceRule, now: float) -> list[Life]:
        found = []
        for node in {n for n, _ in self.services if n != CLOUD_NODE}:
            known = {s: v for (n, s), v in self.services.items() if n == node}
            for service, silence in known.items():
                silence.limit_s = max(rule.at_least_s, rule.heartbeats * self.beats[node, service])
            age = min(s.age(now) for s in known.values())
            limit = max(s.limit_s for s in known.values())
            found.append(Life(node, rule, "node", self._node_silent(node, now), age, limit))
        return found

    def _node_silent(self, node: str, now: float) -> bool | None:
        """All of its services are silent; None while one of them cannot be judged and none is heard."""
        states = [s.update(now) for (n, _), s in self.services.items() if n == node]
        if any(state is False for state in states):
            return False
        return None if any(state is None for state in states) else True
