"""Is what we show true now? Pure: `now` and all times are the receiver's steady clock [s].

A recording's samples are years old, so age is counted from arrival, never from a sample's own time. Last values stay on
the page after a death, greyed and with their age: they were true then, and nobody knows now.
"""

from dataclasses import dataclass
from typing import Final, Literal

from services.bus.life import HEARTBEATS, heartbeat_s, repeats
from services.bus.messages import Status

SILENCE_MIN_S: Final = 5.0
PERIODS: Final = 3.0

Life = Literal["online", "unconfirmed", "silent", "offline"]
Fresh = Literal["live", "finished", "waiting", "stale"]


@dataclass(slots=True)
class ServiceLife:
    """Life signs of one service of one node.

    A broker shows a dead node's retained `online` for ever: the copy that we get at connecting proves nothing unless
    its time is recent, or a second, different one comes. A will counts only if it names the session that we know.

    Attributes:
        status: what the service last said; after a will, with state `offline`.
        heard: when a status last arrived that was news [s].
        confirmed: it was heard to be alive since we watch.
    """

    status: Status
    heard: float
    confirmed: bool = False

    def take(self, status: Status, now: float) -> bool:
        """Take a further status. Returns False for a will of an earlier session, which is ignored."""
        known = self.status
        if status.state == "offline":
            if status.session != known.session:
                return False
            self.status = known.model_copy(update={"state": "offline"})
            self.heard = now
            return True
        if not repeats(status, known):
            self.heard, self.confirmed = now, True
        self.status = status
        return True

    def life(self, now: float, connected_at: float | None) -> Life:
        """Online, silent, ..; `connected_at`: when our own connection began (what we missed before says nothing)."""
        if self.status.state == "offline":
            return "offline"
        limit = HEARTBEATS * heartbeat_s(self.status)
        if now - max(self.heard, connected_at or self.heard) > limit:
            return "silent"
        return "online" if self.confirmed else "unconfirmed"


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether a device's values are true now; `age_s` since the last sample came, None = none came yet."""

    state: Fresh
    reason: str
    age_s: float | None

    @property
    def current(self) -> bool:
        """Values may be shown as present ones."""
        return self.state in ("live", "finished")


def silence_limit_s(period_s: float | None) -> float:
    """How long a device may say nothing: max(5 s, 3 periods)."""
    return max(SILENCE_MIN_S, PERIODS * (period_s or 1.0))


def freshness(
    now: float,
    *,
    cut_since: float | None,
    sensor: ServiceLife | None,
    arrived: float | None,
    period_s: float | None,
    connected_at: float | None = None,
) -> Freshness:
    """Judge a device's samples.

    Args:
        cut_since: since when we have no broker, None = connected.
        sensor: the node's sensor service, None = never heard of.
        arrived: when the last sample came, None = none yet.
        period_s: the layout's time between samples [s].
        connected_at: since when we are connected; samples are expected from then on.
    """
    age = None if arrived is None else max(0.0, now - arrived)
    if cut_since is not None:
        return Freshness("stale", f"no connection to the broker for {duration(now - cut_since)}", age)
    life = sensor.life(now, connected_at) if sensor else None
    if sensor is not None and life in ("offline", "silent"):
        said = "is offline" if life == "offline" else f"has been silent for {duration(now - sensor.heard)}"
        return Freshness("stale", f"the sensor service {said}", age)
    replay = sensor.status.replay if sensor else None
    if replay is not None and replay.finished:
        return Freshness("finished", f"recording finished: {replay.file}, {replay.rows} rows", age)
    if age is None:
        return Freshness("waiting", "no sample yet", None)
    if age > silence_limit_s(period_s):
        return Freshness("stale", f"no sample for {duration(age)}", age)
    return Freshness("live", "live", age)


def duration(seconds: float) -> str:
    """For people: `4 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = max(0, int(seconds))
    for size, unit, small, below in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"
