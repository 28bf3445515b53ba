"""Streams in order and without gaps, for services of the edge. Pure: the same arrivals give the same deliveries.

A message that is out of order waits; what lies before it is asked of the publisher's journal; after `patience_s` the
reader goes on without it (a life may hang on what waits behind the gap), and what turns up later is marked `late`.
The first messages of a new process start wait until the publisher has said how the one before ended.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from services.bus.messages import Journal, StreamMessage
from services.bus.ranges import Range, RangeSet
from services.bus.topics import Topic

FIRST_CONTACT: Final = 2000  # a stream first seen below this number is wanted from its start
ASK_AGAIN_S: Final = 2.0  # without an answer
ASK_AT_ONCE: Final = 1000  # messages a request
PAST_BOOTS: Final = 8  # whose stragglers are still told from new ones
_FOR_EVER: Final = 2**53 - 1
Request = tuple[Topic, str, list[Range]]  # stream, boot, what is missing


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for the service; `late` = it came after the reader had gone on without it."""

    topic: Topic
    message: Any
    late: bool = False


@dataclass(slots=True)
class _Boot:
    """One process start of a stream, as far as it is known here."""

    boot: str
    next: int
    end: int = -1  # highest number that is known to exist
    sealed: bool = False  # the process has ended: nothing follows `end`
    presumed: bool = False  # .. so we took it, because another one spoke and nobody told; it may speak again
    announced: bool = False  # the publisher has said which came before it
    begun: bool = False  # something of it was delivered
    held: dict[int, StreamMessage] = field(default_factory=dict)
    absent: RangeSet = field(default_factory=RangeSet)  # the publisher does not have these
    skipped: RangeSet = field(default_factory=RangeSet)
    asked: RangeSet = field(default_factory=RangeSet)
    answered_at: float = 0.0
    waiting_since: float | None = None

    @property
    def gap(self) -> Range | None:
        """The first numbers that exist and are not here."""
        if self.next > self.end:
            return None
        return self.next, min(self.held, default=self.end + 1) - 1

    def missing(self) -> RangeSet:
        here = RangeSet((s, s) for s in sorted(self.held))
        return RangeSet([(self.next, self.end)]).difference(here).difference(self.absent)


class Feed:
    """The reading positions of all streams of a node.

    Args:
        patience_s: how long a gap may hold back what follows it [s].
    """

    def __init__(self, patience_s: float = 3.0) -> None:
        self._patience_s = patience_s
        self._streams: dict[Topic, deque[_Boot]] = {}
        self._past: dict[Topic, deque[_Boot]] = {}
        self.duplicates = self.late = self.skipped = 0

    # --- what comes -------------------------------------------------------------------------------------------------

    def receive(self, topic: Topic, message: StreamMessage, now: float, *, backfilled: bool = False) -> list[Delivery]:
        """Take one message (`now`: steady clock [s]); return what can be delivered, in order.

        Args:
            backfilled: out of a block. Others ask, too: a block of a process start that we do not read is not for us.
        """
        boots = self._streams.get(topic)
        at = self._find(topic, message.boot)
        if at is None:
            if backfilled:
                return []
            boots = self._streams.setdefault(topic, deque())
            at = _Boot(message.boot, message.seq if not boots and message.seq > FIRST_CONTACT else 0)
            boots.append(at)
        assert boots is not None
        seq = message.seq
        if at.presumed and seq >= at.next and not backfilled:
            self._revive(topic, at)
        if seq in at.skipped:
            at.skipped.remove(seq)
            self.late += 1
            return [Delivery(topic, message, late=True)]
        at.end = max(at.end, seq)
        if seq < at.next or seq in at.held:
            self.duplicates += not backfilled
            return []
        if at.asked and seq in at.asked:
            at.asked.remove(seq)
            at.answered_at = now
        if seq == at.next and at is boots[0] and not at.held and not at.absent and len(boots) == 1:  # the hot path
            at.next, at.begun, at.waiting_since = seq + 1, True, None
            return [Delivery(topic, message)]
        at.held[seq] = message
        return self._drain(topic)

    def announce(self, topic: Topic, journal: Journal) -> list[Delivery]:
        """Learn from the publisher what exists: the end of a process start, and such that we never saw."""
        boots = self._streams.get(topic)
        if not boots:
            return []
        announced: dict[str, tuple[int, int, bool]] = {}
        for r in journal.ranges:
            first, last, closed = announced.get(r.boot, (r.first, r.last, r.closed))
            announced[r.boot] = min(first, r.first), max(last, r.last), closed and r.closed
        names = list(announced)
        following = False
        for position, (boot, (first, last, closed)) in enumerate(announced.items()):
            at = self._find(topic, boot)
            if at is None and following:
                if any(b.begun and b.boot in names[position + 1 :] for b in boots):
                    continue  # we are past it
                at = _Boot(boot, first)
                boots.append(at)
            if at is not None:
                following = True
                at.end, at.sealed, at.announced = max(at.end, last), at.sealed or closed, True
        self._sort(boots, names)
        for lost in journal.lost:
            at = next((b for b in boots if b.boot == lost.boot), None)
            if at is not None:
                _note_absent(at, lost.first, lost.last)
        if journal.pages == 1 and boots[-1].boot in announced:
            for at in boots:
                at.sealed = at.sealed or (at is not boots[-1] and at.boot not in announced)
        return self._drain(topic)

    def missing(self, topic: Topic, boot: str, ranges: list[Range], now: float) -> list[Delivery]:
        """The publisher does not have these: go on without them."""
        for at in self._streams.get(topic, ()):
            if at.boot == boot:
                for first, last in ranges:
                    at.asked.remove(first, last)
                    _note_absent(at, first, last)
                at.answered_at = now
                return self._drain(topic)
        return []

    def due(self, now: float) -> tuple[list[Delivery], list[Request]]:
        """What patience has run out for, and what to ask of the publishers."""
        deliveries: list[Delivery] = []
        requests: list[Request] = []
        for topic, boots in self._streams.items():
            at = boots[0]
            gap = at.gap
            if gap is None and len(boots) == 1:
                continue
            at.waiting_since = now if at.waiting_since is None else at.waiting_since
            if now - at.waiting_since >= self._patience_s:
                if gap is None:
                    at.sealed = at.presumed = boots[1].announced = True
                else:
                    self._skip(at, gap[1] + 1)
                deliveries += self._drain(topic)
            elif gap is not None and (not at.asked or now - at.answered_at >= ASK_AGAIN_S):
                at.asked, at.answered_at = at.missing().head(ASK_AT_ONCE), now
                requests.append((topic, at.boot, list(at.asked)))
        return deliveries, requests

    # --- order ------------------------------------------------------------------------------------------------------

    def _find(self, topic: Topic, boot: str) -> _Boot | None:
        boots = self._streams.get(topic)
        if boots and boots[0].boot == boot:
            return boots[0]
        for known in (self._streams, self._past):
            for at in known.get(topic, ()):
                if at.boot == boot:
                    return at
        return None

    def _sort(self, boots: deque[_Boot], order: list[str]) -> None:
        """Process starts in the publisher's order, as far as nothing of them was delivered."""
        waiting = [at for at in boots if not at.begun]
        if all(at.boot in order for at in waiting):
            begun = [at for at in boots if at.begun]
            boots.clear()
            boots.extend(begun + sorted(waiting, key=lambda at: order.index(at.boot)))

    def _revive(self, topic: Topic, at: _Boot) -> None:
        """A process start that we took for ended speaks: it was the other one that had strayed in (a wrong sender)."""
        boots = self._streams[topic]
        at.presumed = at.sealed = False
        at.skipped.remove(at.next, _FOR_EVER)
        if at in boots:
            return
        self._past[topic].remove(at)
        if boots[0].gap is None:
            boots[0].sealed = boots[0].presumed = at.announced = True
        boots.append(at)

    def _skip(self, at: _Boot, to: int) -> None:
        at.skipped.add(at.next, to - 1)
        at.asked.remove(at.next, to - 1)
        self.skipped += to - at.next
        at.next, at.waiting_since = to, None

    def _drain(self, topic: Topic) -> list[Delivery]:
        boots, deliveries = self._streams[topic], []
        while True:
            at = boots[0]
            while at.next in at.held or (at.absent and at.next <= at.end and at.next in at.absent):
                message = at.held.pop(at.next, None)
                if message is None:
                    self._skip(at, at.next + 1)
                    continue
                deliveries.append(Delivery(topic, message))
                at.next, at.begun, at.waiting_since = at.next + 1, True, None
            if at.next > at.end:
                at.absent = RangeSet()
            if at.next <= at.end or len(boots) == 1 or not (at.sealed and boots[1].announced):
                return deliveries
            at.skipped.add(at.next, _FOR_EVER)  # should anything follow against all promises, it is late
            self._past.setdefault(topic, deque(maxlen=PAST_BOOTS)).append(boots.popleft())

    # --- positions --------------------------------------------------------------------------------------------------

    def position(self, topic: Topic) -> tuple[str, int] | None:
        """(boot, last delivered seq) of a stream."""
        boots = self._streams.get(topic)
        return (boots[0].boot, boots[0].next - 1) if boots else None

    @property
    def waiting(self) -> int:
        """Messages held back by gaps."""
        return sum(len(b.held) for boots in self._streams.values() for b in boots)

    def cursors(self) -> dict[str, Any]:
        """The positions, to be kept with what was made of the messages: stream -> [boot, next seq, more].

        `more` (left out when empty): what was skipped, and which process starts are past.
        """
        return {str(topic): self._cursor(topic, boots[0]) for topic, boots in self._streams.items()}

    def _cursor(self, topic: Topic, at: _Boot) -> list[Any]:
        past = [[b.boot, list(b.skipped), b.next if b.presumed else None] for b in self._past.get(topic, ())]
        if not past and not at.skipped:
            return [at.boot, at.next]
        return [at.boot, at.next, {"skipped": list(at.skipped), "past": past}]

    def restore(self, cursors: dict[str, Any]) -> None:
        """Go back to kept positions: what follows them is delivered (again)."""
        for text, (boot, following, *more) in cursors.items():
            topic = Topic.parse(text)
            extra = more[0] if more else {"skipped": [], "past": []}
            at = _Boot(boot, following, begun=True, skipped=_ranges(extra["skipped"]))
            self._streams[topic] = deque([at])
            past = [
                _Boot(b, _FOR_EVER if n is None else n, sealed=True, presumed=n is not None, skipped=_ranges(r))
                for b, r, n in extra["past"]
                if b != boot
            ]
            self._past[topic] = deque(past, maxlen=PAST_BOOTS)


def _note_absent(at: _Boot, first: int, last: int) -> None:
    first, last = max(first, at.next), min(last, at.end)  # beyond the end there is nothing to miss yet
    if first <= last:
        at.absent.add(first, last)


def _ranges(pairs: list[list[int]]) -> RangeSet:
    return RangeSet((first, last) for first, last in pairs)
