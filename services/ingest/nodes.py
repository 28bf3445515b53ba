"""Which services live, and whether two installations use one node name. Pure: `now` is the receiver's steady clock."""

from dataclasses import dataclass, field
from datetime import datetime

from services.bus.life import HEARTBEATS, heartbeat_s, is_recent, repeats
from services.bus.messages import Status


@dataclass(slots=True)
class _Seen:
    status: Status
    alive_at: float | None  # None: known from a retained copy of unknown age alone


@dataclass(slots=True)
class Heartbeats:
    """The last status of each (node, service), and when it was a sign of life by our clock.

    A broker shows a dead node's retained `online` for ever, so a repeated status is no sign of life; the first one that
    we see is one only if its own time is recent.
    """

    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def heard(self, node: str, service: str, status: Status, now: float, clock: datetime) -> bool:
        """Take a status; False when it is a will of a session that is not the present one."""
        key, seen = (node, service), self._seen.get((node, service))
        if status.state == "offline" and seen is not None and seen.status.session != status.session:
            return False
        alive = is_recent(status, clock) if seen is None else not repeats(status, seen.status)
        alive_at = now if alive and status.state == "online" else seen.alive_at if seen else None
        self._seen[key] = _Seen(status, alive_at)
        return True

    def fresh(self, node: str, service: str, now: float) -> bool:
        """Whether the service is online and was heard within three heartbeats."""
        seen = self._seen.get((node, service))
        if seen is None or seen.alive_at is None or seen.status.state != "online":
            return False
        return now - seen.alive_at < HEARTBEATS * heartbeat_s(seen.status)

    def boot(self, node: str, service: str) -> str | None:
        """The boot of the streams that the service publishes now."""
        seen = self._seen.get((node, service))
        return seen.status.boot if seen else None


@dataclass(slots=True)
class Installations:
    """Finds two installations (a cloned SD card) that publish under one node name.

    A replaced installation is heard once and never the old one again; two that alternate are a conflict. It ends when
    only one has been heard for `quiet_s`.
    """

    quiet_s: float = 600.0
    _heard: dict[str, dict[str, float]] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)
    _conflict: dict[str, float] = field(default_factory=dict)

    def heard(self, node: str, installation: str, now: float) -> list[str]:
        """Take an installation id; the ids in conflict when this message shows that there are two."""
        known = self._heard.setdefault(node, {})
        back = installation in known and self._last[node] != installation
        known[installation] = now
        self._last[node] = installation
        if not back:
            return []
        recent = sorted(i for i, at in known.items() if now - at < self.quiet_s)
        if len(recent) < 2:
            return []
        self._conflict[node] = now
        return recent

    def resume(self, node: str, now: float) -> None:
        """A conflict was known before our own start: it lasts until it has been quiet from now on."""
        self._conflict[node] = now

    def over(self, now: float) -> list[str]:
        """Nodes whose conflict has ended."""
        ended = [node for node, at in self._conflict.items() if now - at >= self.quiet_s]
        for node in ended:
            del self._conflict[node]
            self._heard[node] = {self._last[node]: now} if node in self._last else {}
        return ended
