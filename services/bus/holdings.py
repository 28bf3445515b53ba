"""What a journal holds of each process start of each stream: ranges, confirmations, losses. Pure."""

from dataclasses import dataclass, field
from typing import Final

from services.bus.ranges import RangeSet

SEQ_BITS: Final = 40  # key of a message: boot.number << 40 | seq; in order, without a second index
SEQ_MASK: Final = (1 << SEQ_BITS) - 1
Key = tuple[str, str]  # stream, boot


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to keep. `at`: receipt by the wall clock, `ts`: the time it speaks of [s since 1970]."""

    stream: str
    boot: str
    seq: int
    at: float
    ts: float
    payload: bytes
    timed: bool = True

    @property
    def key(self) -> Key:
        return self.stream, self.boot


@dataclass(slots=True)
class Tombstone:
    first: int
    last: int
    from_ts: float
    to_ts: float


@dataclass(slots=True)
class BootIndex:
    """What the journal holds of one process start of one stream. `number` orders the starts; 0 = not on the disk."""

    number: int = 0
    held: RangeSet = field(default_factory=RangeSet)
    confirmed: RangeSet = field(default_factory=RangeSet)
    lost: list[Tombstone] = field(default_factory=list)
    from_ts: float = 0.0
    to_ts: float = 0.0
    closed: bool = False
    timed: bool = True

    @property
    def order(self) -> float:
        return self.number or float("inf")

    def ids(self, first: int, last: int) -> tuple[int, int]:
        """Keys of first..last in the table of messages."""
        return self.number << SEQ_BITS | min(first, SEQ_MASK), self.number << SEQ_BITS | min(last, SEQ_MASK)

    def copy(self) -> "BootIndex":
        return BootIndex(
            self.number,
            self.held.copy(),
            self.confirmed.copy(),
            [Tombstone(t.first, t.last, t.from_ts, t.to_ts) for t in self.lost],
            self.from_ts,
            self.to_ts,
            self.closed,
            self.timed,
        )

    def bury(self, first: int, last: int, from_ts: float, to_ts: float) -> None:
        """Leave a tombstone; one that follows the last is joined to it."""
        if self.lost and self.lost[-1].last + 1 == first:
            last_one = self.lost[-1]
            last_one.last, last_one.to_ts = last, max(last_one.to_ts, to_ts)
        else:
            self.lost.append(Tombstone(first, last, from_ts, to_ts))


def finished(index: dict[Key, BootIndex]) -> list[Key]:
    """Process starts of which nothing is left and to which nothing is added: closed, or a later one has begun."""
    newest: dict[str, int] = {}
    for (stream, _), at in index.items():
        newest[stream] = max(newest.get(stream, 0), at.number)
    return [
        key
        for key, at in index.items()
        if not at.held and not at.lost and (at.closed or 0 < at.number < newest[key[0]])
    ]
