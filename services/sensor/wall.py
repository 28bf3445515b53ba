"""What time it is. Pure: a computer without a clock battery boots in the past, and learns the time later or never.

The system's clock is used when something set it (services/bus/clock.py); else the server's heartbeat (`peer`), in this
process only: it does not set the computer's clock.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from services.bus.messages import TimeSource

HEARTBEATS: Final = 12  # of the server, to choose the one that was least delayed
AGREE_S: Final = 0.5  # two heartbeats are live if they came as far apart as they were sent
APART_S: Final = 1.0


@dataclass(slots=True)
class PeerClock:
    """The time by the server's heartbeats.

    A heartbeat comes late (a queue, a bridge that was cut), never early: of those that are live, the one that makes it
    latest is right. One that waited in a queue comes together with others: two must come as far apart as they were
    sent before they are believed.
    """

    _last: tuple[float, float] | None = None  # mono, ts
    _offsets: deque[float] = field(default_factory=lambda: deque(maxlen=HEARTBEATS))

    def hear(self, mono: float, ts: float) -> None:
        """A heartbeat sent at `ts` [s since 1970] came at `mono` [s]."""
        last, self._last = self._last, (mono, ts)
        if last is None:
            return
        came, sent = mono - last[0], ts - last[1]
        if came < APART_S:
            self._last = last if sent <= 0 else self._last
        elif abs(came - sent) <= AGREE_S:
            self._offsets.append(ts - mono)

    @property
    def offset(self) -> float | None:
        """Time since 1970 minus mono [s]; None while it is not known."""
        return max(self._offsets, default=None)


@dataclass(slots=True)
class WallClock:
    """Time since 1970 at a steady time, and what it is worth.

    What was once set stays set: a computer whose time server is away for a day is seconds off, not unknown.
    """

    source: TimeSource = "none"
    _offset: float = 0.0
    _peer: PeerClock = field(default_factory=PeerClock)

    def look(self, mono: float, wall: float, source: TimeSource) -> None:
        """The system's clock shows `wall` at `mono`; `source` set it (`none`: nothing new is known of that)."""
        if source != "none":
            self.source = source
        if self.source not in ("none", "peer"):
            self._offset = wall - mono
        elif (offset := self._peer.offset) is not None:
            self.source, self._offset = "peer", offset
        else:
            self._offset = wall - mono

    def hear(self, mono: float, ts: float) -> None:
        """The server's heartbeat, sent at `ts`, came at `mono`."""
        self._peer.hear(mono, ts)

    @property
    def known(self) -> bool:
        return self.source != "none"

    @property
    def offset(self) -> float:
        """Time since 1970 minus mono [s]."""
        return self._offset

    def at(self, mono: float) -> float:
        return mono + self._offset
