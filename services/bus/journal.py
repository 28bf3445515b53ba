"""The outbox's journal: every message a service published, in SQLite (WAL), as a ring of size and age.

Synchronous and for one thread; outbox.py puts a thread and the tail around it. It drops confirmed messages first; what
it must drop unconfirmed leaves a tombstone, which is announced as lost.
"""

import contextlib
import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.bus.ranges import RangeSet

TRIM_ROWS: Final = 20_000  # dropped at most in one go; the rest with the next group
_SCHEMA: Final = """
create table if not exists message(id integer primary key, at real, ts real, payload blob);
create table if not exists boot(number integer primary key, stream text, boot text, closed integer default 0,
  timed integer default 1, confirmed text default '[]', lost text default '[]', unique (stream, boot));
create table if not exists state(name text primary key, value blob) without rowid;
"""
_SEQ_BITS: Final = 40  # message.id = boot.number << 40 | seq: one key, appended in order, no second index
_SEQ_MASK: Final = (1 << _SEQ_BITS) - 1
_SELECT: Final = "from message where id between ? and ?"
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
        return self.number << _SEQ_BITS | min(first, _SEQ_MASK), self.number << _SEQ_BITS | min(last, _SEQ_MASK)

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


class Journal:
    """The database.

    Args:
        path: file, or ":memory:" when no disk can be had.
        max_bytes: payload bytes to keep at most.
        max_age_s: by receipt time; what has no time yet does not age.
    Raises:
        sqlite3.DatabaseError: not a database, or damaged.
    """

    def __init__(self, path: Path | str, *, max_bytes: int, max_age_s: float) -> None:
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self.index: dict[Key, BootIndex] = {}
        self.bytes = 0
        self._dirty: set[Key] = set()
        self._early: dict[Key, RangeSet] = {}  # confirmed before the first group was written
        self._unsynced = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.executescript(_SCHEMA)
            self._load()
        except ValueError as error:
            self._db.close()
            raise sqlite3.DatabaseError(f"table boot: {error}") from None
        except BaseException:
            self._db.close()
            raise

    def _load(self) -> None:
        rows = self._db.execute("select number, stream, boot, closed, timed, confirmed, lost from boot order by number")
        for number, stream, boot, closed, timed, confirmed, lost in rows:
            self.index[stream, boot] = BootIndex(
                number,
                confirmed=RangeSet((first, last) for first, last in json.loads(confirmed)),
                lost=[Tombstone(*t) for t in json.loads(lost)],
                closed=bool(closed),
                timed=bool(timed),
            )
        by_number = {at.number: at for at in self.index.values()}
        for id_, ts, size in self._db.execute("select id, ts, length(payload) from message order by id"):
            at, seq = by_number.get(id_ >> _SEQ_BITS), id_ & _SEQ_MASK
            if at is None:
                raise ValueError(f"message {id_} belongs to no boot")
            at.from_ts = at.from_ts if at.held else ts
            at.held.add(seq)
            at.to_ts = max(at.to_ts, ts)
            self.bytes += size

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry], states: Iterable[tuple[str, bytes]], *, durable: bool) -> None:
        """Keep messages and states in one transaction; known messages are left as they are.

        Args:
            durable: wait until it, and all that was written before, is on the disk (fsync). Otherwise it is safe from
                the death of this process only.
        Raises:
            sqlite3.OperationalError: the disk is full or read-only; nothing was kept.
        """
        new = {(*e.key, e.seq): e for e in entries if not self._known(e)}
        changed: dict[Key, BootIndex] = {key: self.index[key] for key in self._dirty & self.index.keys()}
        opened: dict[Key, BootIndex] = {}
        for entry in new.values():
            at = self.index.get(entry.key)
            if at is None:
                opened.setdefault(
                    entry.key, BootIndex(timed=entry.timed, confirmed=self._early.get(entry.key, RangeSet()).copy())
                )
            elif (at.closed or not at.number) and entry.key not in opened:  # a recording goes on under its boot
                opened[entry.key] = at.copy()
                opened[entry.key].closed = False
        numbers: dict[Key, int] = {}
        with self._transaction("full" if durable else "normal"):
            for key, at in (changed | opened).items():
                numbers[key] = at.number or self._number(key)
                self._save(key, at)
            self._db.executemany(
                "insert or ignore into message values (?, ?, ?, ?)",
                [(self._id(numbers, e), e.at, e.ts, e.payload) for e in new.values()],
            )
            self._db.executemany("insert or replace into state values (?, ?)", list(states))
            if durable and self._unsynced:  # SQLite syncs only a commit that has written something
                version = self._db.execute("pragma user_version").fetchone()[0]
                self._db.execute(f"pragma user_version = {(version + 1) % 2**31}")
        self._unsynced = not durable
        self._dirty.clear()
        for key in opened:
            self._early.pop(key, None)
        self.index |= opened
        for key, number in numbers.items():
            self.index[key].number = number
        for entry in new.values():
            at = self.index[entry.key]
            at.from_ts = at.from_ts if at.held else entry.ts
            at.held.add(entry.seq)
            at.to_ts = max(at.to_ts, entry.ts)
            self.bytes += len(entry.payload)

    def _id(self, numbers: dict[Key, int], e: Entry) -> int:
        return (numbers.get(e.key) or self.index[e.key].number) << _SEQ_BITS | e.seq

    def _known(self, entry: Entry) -> bool:
        at = self.index.get(entry.key)
        return at is not None and entry.seq in at.held

    @contextlib.contextmanager
    def _transaction(self, synchronous: str) -> Iterator[None]:
        """Nothing in `index` may change inside: it would not be rolled back."""
        self._db.execute(f"pragma synchronous = {synchronous}")
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("rollback")
            raise

    def _number(self, key: Key) -> int:
        self._db.execute("insert or ignore into boot(stream, boot) values (?, ?)", key)
        return int(self._db.execute("select number from boot where stream = ? and boot = ?", key).fetchone()[0])

    def _save(self, key: Key, at: BootIndex) -> None:
        lost = json.dumps([[t.first, t.last, t.from_ts, t.to_ts] for t in at.lost])
        self._db.execute(
            "update boot set closed = ?, timed = ?, confirmed = ?, lost = ? where stream = ? and boot = ?",
            (at.closed, at.timed, json.dumps(list(at.confirmed)), lost, *key),
        )

    def confirm(self, stream: str, boot: str, ranges: Iterable[tuple[int, int]]) -> None:
        """The far side has stored these; they may be dropped first."""
        at = self.index.get((stream, boot))
        confirmed = at.confirmed if at else self._early.setdefault((stream, boot), RangeSet())
        for first, last in ranges:
            confirmed.add(first, last)
        self._dirty.add((stream, boot))  # kept with the next group: forgetting it costs a second confirmation

    def close_boot(self, stream: str, boot: str) -> None:
        """This boot has ended cleanly; nothing follows. Kept with the next group."""
        at = self.index.get((stream, boot))
        if at is not None and not at.closed:
            at.closed = True
            self._dirty.add((stream, boot))

    def bury(self, entries: Iterable[Entry]) -> None:
        """Messages that could not be kept at all (no disk, no memory left): known, and lost."""
        for e in entries:
            at = self.index.setdefault(e.key, BootIndex(timed=e.timed))
            at.bury(e.seq, e.seq, e.ts, e.ts)
            self._dirty.add(e.key)

    def date(self, stream: str, boot: str, messages: Sequence[tuple[int, float, bytes]], *, last: bool = True) -> None:
        """Replace untimed messages (seq, ts, payload) by dated ones; `last` = the boot is dated now, once for all."""
        key = (stream, boot)
        at = self.index[key].copy()
        at.timed = last
        grown = 0
        with self._transaction("full"):
            for seq, ts, payload in messages:
                where = at.ids(seq, seq)
                for (size,) in self._db.execute(f"select length(payload) {_SELECT}", where).fetchall():
                    grown += len(payload) - size
                self._db.execute(
                    "update message set at = ?, ts = ?, payload = ? where id = ?", (ts, ts, payload, where[0])
                )
            self._save(key, at)
            if at.held:
                at.from_ts, at.to_ts = self._times(at, 0, at.held.highest)
        self.index[key] = at
        self.bytes += grown

    # --- the ring ---------------------------------------------------------------------------------------------------

    def trim(self, now: float) -> int:
        """Drop what is too old or too much: confirmed first, oldest receipt first. Returns how many were lost by it.

        What is dropped unconfirmed leaves a tombstone.
        """
        drop: dict[Key, RangeSet] = {}
        freed = dropped = 0
        for confirmed in (True, False):
            rows = [self._rows(key, at, drop.get(key), now, confirmed=confirmed) for key, at in self._in_order()]
            for received, _, key, seq, size in heapq.merge(*rows):
                if self.bytes - freed <= self._max_bytes and now - received <= self._max_age_s:
                    break
                if dropped == TRIM_ROWS:
                    break
                dropped += 1
                drop.setdefault(key, RangeSet()).add(seq)
                freed += size
        return self._drop(drop, freed) if drop or self._finished() else 0

    def _in_order(self) -> list[tuple[Key, BootIndex]]:
        return sorted(self.index.items(), key=lambda item: item[1].order)

    def _rows(
        self, key: Key, at: BootIndex, gone: RangeSet | None, now: float, *, confirmed: bool
    ) -> Iterator[tuple[float, float, Key, int, int]]:
        """What may be dropped of a boot, ascending: (received, order, key, seq, bytes)."""
        candidates = at.held.intersection(at.confirmed) if confirmed else at.held
        for first, last in candidates.difference(gone) if gone else candidates:
            rows = self._db.execute(f"select id, at, length(payload) {_SELECT} order by id", at.ids(first, last))
            for id_, received, size in rows:
                yield (received if at.timed else now), at.order, key, id_ & _SEQ_MASK, size

    def _finished(self) -> list[Key]:
        return _over(self.index)

    def _drop(self, drop: dict[Key, RangeSet], freed: int) -> int:
        changed: dict[Key, BootIndex] = {}
        lost = 0
        with self._transaction("normal"):
            for key, ranges in drop.items():
                at = changed[key] = self.index[key].copy()
                for first, last in ranges.difference(at.confirmed):
                    at.bury(first, last, *self._times(at, first, last))
                    lost += last - first + 1
                for first, last in ranges:
                    self._db.execute(f"delete {_SELECT}", at.ids(first, last))
                    at.held.remove(first, last)
                    at.confirmed.remove(first, last)
                if at.held:
                    at.from_ts = self._times(at, next(iter(at.held))[0], next(iter(at.held))[0])[0]
                self._save(key, at)
            finished = _over(self.index | changed)
            self._db.executemany("delete from boot where stream = ? and boot = ?", finished)
        self.index |= changed
        self._unsynced = True
        for key in finished:
            del self.index[key]
        self.bytes -= freed
        return lost

    def _times(self, at: BootIndex, first: int, last: int) -> tuple[float, float]:
        earliest, latest = self._db.execute(f"select min(ts), max(ts) {_SELECT}", at.ids(first, last)).fetchone()
        return earliest, latest

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, stream: str, boot: str, ranges: Iterable[tuple[int, int]], limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` messages (seq, payload) of the ranges, ascending."""
        found: list[tuple[int, bytes]] = []
        at = self.index.get((stream, boot))
        if at is None or not at.number:
            return found
        for first, last in ranges:
            if len(found) >= limit:
                break
            rows = self._db.execute(
                f"select id, payload {_SELECT} order by id limit ?", (*at.ids(first, last), limit - len(found))
            )
            found += [(id_ & _SEQ_MASK, payload) for id_, payload in rows]
        return found

    def entries(self) -> list[Entry]:
        """Everything that is held: to move a journal that was kept in memory to a disk that has come back."""
        found: list[Entry] = []
        for (stream, boot), at in self._in_order():
            rows = self._db.execute(f"select id, at, ts, payload {_SELECT} order by id", at.ids(0, _SEQ_MASK))
            found += [Entry(stream, boot, i & _SEQ_MASK, when, ts, load, at.timed) for i, when, ts, load in rows]
        return found

    def states(self) -> dict[str, bytes]:
        return dict(self._db.execute("select name, value from state"))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            for key in self._dirty & self.index.keys():
                self._save(key, self.index[key])
        self._db.close()


def _over(index: dict[Key, BootIndex]) -> list[Key]:
    """Process starts of which nothing is left and to which nothing is added: closed, or a later one has begun."""
    newest: dict[str, int] = {}
    for (stream, _), at in index.items():
        newest[stream] = max(newest.get(stream, 0), at.number)
    return [
        key
        for key, at in index.items()
        if not at.held and not at.lost and (at.closed or 0 < at.number < newest[key[0]])
    ]
