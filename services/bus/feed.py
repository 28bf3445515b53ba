"""Streams in order and without gaps, for services of the edge. Pure: the same arrivals give the same deliveries.

A message that is out of order waits; what lies before it is asked of the publisher's journal; after `patience_s` the
reader goes on without it (a life may hang on what waits behind the gap), and what turns up later is marked `late`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from services.bus.messages import Journal, StreamMessage
from services.bus.ranges import Range, RangeSet
from services.bus.topics import Topic

FIRST_CONTACT: Final = 2000  # a stream first seen below this number is wanted from its start
ASK_AGAIN_S: Final = 2.0
ASK_AT_ONCE: Final = 1000  # messages a request


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for the service; `late` = it came after the reader had gone on without it."""

    topic: Topic
    message: Any
    late: bool = False


@dataclass(slots=True)
class _Boot:
    boot: str
    next: int
    end: int = -1  # highest number that is known to exist
    held: dict[int, StreamMessage] = field(default_factory=dict)
    skipped: RangeSet = field(default_factory=RangeSet)
    gap_since: float | None = None
    asked_at: float | None = None

    @property
    def gap(self) -> Range | None:
        """The first numbers that exist and are not here."""
        if self.next > self.end or self.next in self.held:
            return None
        return self.next, min(self.held, default=self.end + 1) - 1


class Feed:
    """The reading positions of all streams of a node.

    Args:
        patience_s: how long a gap may hold back what follows it [s].
    """

    def __init__(self, patience_s: float = 3.0) -> None:
        self._patience_s = patience_s
        self._streams: dict[Topic, deque[_Boot]] = {}
        self.duplicates = self.late = self.skipped = 0

    def receive(self, topic: Topic, message: StreamMessage, now: float) -> list[Delivery]:
        """Take one message (`now`: steady clock [s]); return what can be delivered, in order."""
        boots = self._streams.setdefault(topic, deque())
        at = next((b for b in boots if b.boot == message.boot), None)
        if at is None:
            first_contact = not boots
            start = message.seq if first_contact and message.seq > FIRST_CONTACT else 0
            at = _Boot(message.boot, start)
            boots.append(at)
        seq = message.seq
        at.end = max(at.end, seq)
        if seq < at.next:
            if seq in at.skipped:
                at.skipped.remove(seq)
                self.late += 1
                return [Delivery(topic, message, late=True)]
            self.duplicates += 1
            return []
        if at is boots[0] and seq == at.next and not at.held:  # the hot path
            at.next += 1
            at.gap_since = None
            return [Delivery(topic, message)] if len(boots) == 1 else [Delivery(topic, message), *self._drain(topic)]
        if seq in at.held:
            self.duplicates += 1
        at.held[seq] = message
        return self._drain(topic)

    def announce(self, topic: Topic, journal: Journal) -> None:
        """Learn from the publisher what exists: the end of a boot, and boots that we never saw."""
        boots = self._streams.get(topic)
        if not boots:
            return
        known = {b.boot: b for b in boots}
        following = False
        for announced in journal.ranges:
            at = known.get(announced.boot)
            if at is None and following:
                at = known[announced.boot] = _Boot(announced.boot, announced.first)
                boots.append(at)
            if at is not None:
                following = True
                at.end = max(at.end, announced.last)

    def missing(self, topic: Topic, boot: str, ranges: list[Range], now: float) -> list[Delivery]:
        """The publisher does not have these: go on without them."""
        for at in self._streams.get(topic, ()):
            if at.boot == boot:
                for first, last in ranges:
                    if first <= at.next <= last:
                        self._skip(at, last + 1)
        return self._drain(topic)

    def due(self, now: float) -> tuple[list[Delivery], list[tuple[Topic, str, list[Range]]]]:
        """What patience has run out for, and what to ask of the publishers: (stream, boot, ranges)."""
        deliveries: list[Delivery] = []
        requests: list[tuple[Topic, str, list[Range]]] = []
        for topic, boots in self._streams.items():
            at = boots[0] if boots else None
            gap = at.gap if at else None
            if at is None or gap is None:
                continue
            at.gap_since = now if at.gap_since is None else at.gap_since
            if now - at.gap_since >= self._patience_s:
                self._skip(at, gap[1] + 1)
                deliveries += self._drain(topic)
            elif at.asked_at is None or now - at.asked_at >= ASK_AGAIN_S:
                at.asked_at = now
                requests.append((topic, at.boot, list(_gaps(at).head(ASK_AT_ONCE))))
        return deliveries, requests

    def _skip(self, at: _Boot, to: int) -> None:
        at.skipped.add(at.next, to - 1)
        self.skipped += to - at.next
        at.next, at.gap_since, at.asked_at = to, None, None

    def _drain(self, topic: Topic) -> list[Delivery]:
        boots, deliveries = self._streams[topic], []
        while boots:
            at = boots[0]
            while at.next in at.held:
                deliveries.append(Delivery(topic, at.held.pop(at.next)))
                at.next += 1
                at.gap_since = at.asked_at = None
            if at.next <= at.end or len(boots) == 1:
                break
            boots.popleft()  # complete, and a newer process start has begun
        return deliveries

    def position(self, topic: Topic) -> tuple[str, int] | None:
        """(boot, last delivered seq) of a stream."""
        boots = self._streams.get(topic)
        return (boots[0].boot, boots[0].next - 1) if boots else None

    @property
    def waiting(self) -> int:
        """Messages held back by gaps."""
        return sum(len(b.held) for boots in self._streams.values() for b in boots)

    def cursors(self) -> dict[str, Any]:
        """The positions, to be kept with what was made of the messages."""
        return {str(topic): [boots[0].boot, boots[0].next] for topic, boots in self._streams.items() if boots}

    def restore(self, cursors: dict[str, Any]) -> None:
        """Go back to kept positions: what follows them is delivered (again)."""
        for text, (boot, following) in cursors.items():
            self._streams[Topic.parse(text)] = deque([_Boot(boot, following)])


def _gaps(at: _Boot) -> RangeSet:
    return RangeSet([(at.next, at.end)]).difference(RangeSet((s, s) for s in sorted(at.held)))
