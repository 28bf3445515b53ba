"""What has been heard on the broker, as far as the page shows it. Pure: `now` is our steady clock [s]."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.bus.life import is_recent
from services.bus.messages import AlarmStatus, Estimate, Layout, Model, Sample, Score, Status
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic
from services.dashboard.staleness import ServiceLife

Key = tuple[str, str]  # node, device
SCORES_MAX: Final = 2000
BACK_S: Final = 60.0  # time that jumps back further begins a new picture


@dataclass(frozen=True, slots=True)
class Point:
    """The scalars of one sample; `ts` in s since 1970."""

    ts: float
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class ScorePoint:
    ts: float
    score: float
    threshold: float


@dataclass(slots=True)
class ProfileFeed:
    """Samples of one device and profile, oldest first."""

    points: deque[Point]
    layout: Layout | None = None
    latest: Sample | None = None
    arrived: float | None = None
    received: int = 0
    rest_s: float = 0.0  # the longest time that a resting device announced until its next sample
    late: int = 0  # repeated or out of order: history has them, the live picture does not need them
    _earlier: set[str] = field(default_factory=set)

    def take(self, sample: Sample, now: float) -> None:
        last = self.latest
        if sample.boot in self._earlier or (last and sample.boot == last.boot and sample.seq <= last.seq):
            self.late += 1
            return
        ts = sample.ts.timestamp()
        if last is not None and sample.boot != last.boot:
            self._earlier.add(last.boot)
        if self.points and ts < self.points[-1].ts - BACK_S:
            self.points.clear()
        self.points.append(Point(ts, {k: v for k, v in sample.channels.items() if not isinstance(v, list)}))
        self.latest, self.arrived = sample, now
        self.rest_s = max(self.rest_s, sample.next_s or 0.0)
        self.received += 1

    @property
    def period_s(self) -> float:
        """How soon the next sample is due [s]."""
        return max(self.layout.period_s if self.layout else 1.0, (self.latest and self.latest.next_s) or 0.0)


@dataclass(slots=True)
class DeviceFeed:
    """Everything of one device."""

    profiles: dict[str, ProfileFeed] = field(default_factory=dict)
    scores: dict[str, deque[ScorePoint]] = field(default_factory=dict)
    last_score: dict[str, Score] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    alarms: dict[str, AlarmStatus] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        return bool(self.profiles)


class World:
    """All nodes and devices.

    Args:
        live_samples: newest samples a device and profile that are kept.
    """

    def __init__(self, live_samples: int) -> None:
        self._live_samples = live_samples
        self.devices: dict[Key, DeviceFeed] = {}
        self.services: dict[Key, ServiceLife] = {}  # by node, service
        self.stale_wills = 0

    def take(self, topic: Topic, message: Model, now: float, clock: datetime) -> None:
        """Take a message of any kind that the dashboard subscribes to; others are ignored. `clock`: our wall clock."""
        if isinstance(message, Status):
            self._status((topic.node, topic.name), message, now, clock)
            return
        device = self.devices.setdefault((topic.node, topic.device), DeviceFeed())
        if isinstance(message, Sample):
            self._profile(device, topic.name).take(message, now)
        elif isinstance(message, Layout):
            self._profile(device, topic.name).layout = message
        elif isinstance(message, Score):
            self._score(device, topic.name, message)
        elif isinstance(message, AlarmStatus):
            self._alarm(topic, device, message)
        elif isinstance(message, Estimate):
            device.estimates[topic.name] = message

    def _profile(self, device: DeviceFeed, name: str) -> ProfileFeed:
        if name not in device.profiles:
            device.profiles[name] = ProfileFeed(deque(maxlen=self._live_samples))
        return device.profiles[name]

    def _status(self, key: Key, status: Status, now: float, clock: datetime) -> None:
        known = self.services.get(key)
        if known is None:
            self.services[key] = ServiceLife(status, now, is_recent(status, clock))
        else:
            self.stale_wills += not known.take(status, now)

    @staticmethod
    def _score(device: DeviceFeed, model: str, score: Score) -> None:
        last = device.last_score.get(model)
        if last is not None and last.boot == score.boot and score.seq <= last.seq:
            return
        points = device.scores.setdefault(model, deque(maxlen=SCORES_MAX))
        ts = score.ts.timestamp()
        if points and ts < points[-1].ts - BACK_S:
            points.clear()
        points.append(ScorePoint(ts, score.score, score.threshold))
        device.last_score[model] = score

    def _alarm(self, topic: Topic, device: DeviceFeed, alarm: AlarmStatus) -> None:
        """Newest wins: by revision; a lower one only from the process that the publisher's status names."""
        known = device.alarms.get(topic.name)
        if known is not None and alarm.revision < known.revision:
            publisher = self.services.get((topic.node, "alert"))
            if alarm.boot == known.boot or publisher is None or publisher.status.boot != alarm.boot:
                return
        device.alarms[topic.name] = alarm

    # --- questions --------------------------------------------------------------------------------------------------

    def measured(self) -> list[Key]:
        """Devices that have a layout or a sample, by name."""
        return sorted(key for key, device in self.devices.items() if device.measured)

    def alarms_of(self, key: Key) -> Iterator[tuple[Key, str, AlarmStatus]]:
        """Alarms that concern a device: its own, its node's, and what the server says of its node."""
        node, _ = key
        for each in (key, (node, NODE_DEVICE), (CLOUD_NODE, node)):
            if each in self.devices:
                for rule, alarm in self.devices[each].alarms.items():
                    yield each, rule, alarm
