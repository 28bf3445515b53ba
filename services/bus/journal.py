"""The outbox's journal: every message a service published, in SQLite (WAL), as a ring of size and age.

Synchronous and for one thread; outbox.py puts a thread and the tail around it. It drops confirmed messages first; what
it must drop unconfirmed leaves a tombstone, which is announced as lost.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.bus.ranges import RangeSet

_SCHEMA: Final = """
create table if not exists message(id integer primary key, at real, ts real, payload blob);
create table if not exists boot(number integer primary key, stream text, boot text, closed integer default 0,
  timed integer default 1, confirmed text default '[]', lost text default '[]', unique (stream, boot));
create table if not exists state(name text primary key, value blob) without rowid;
"""


_SEQ_BITS: Final = 32  # message.id = boot.number << 32 | seq: one key, appended in order, no second index


def _ids(number: int, first: int, last: int) -> tuple[int, int]:
    return number << _SEQ_BITS | first, number << _SEQ_BITS | last


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


@dataclass(slots=True)
class Tombstone:
    first: int
    last: int
    from_ts: float
    to_ts: float


@dataclass(slots=True)
class BootIndex:
    """What the journal holds of one process start of one stream."""

    number: int
    held: RangeSet = field(default_factory=RangeSet)
    confirmed: RangeSet = field(default_factory=RangeSet)
    lost: list[Tombstone] = field(default_factory=list)
    from_ts: float = 0.0
    to_ts: float = 0.0
    closed: bool = False
    timed: bool = True


class Journal:
    """The database.

    Args:
        path: file, or ":memory:" when no disk can be had.
        max_bytes: payload bytes to keep at most.
        max_age_s: by receipt time.
    Raises:
        sqlite3.DatabaseError: not a database, or damaged.
    """

    def __init__(self, path: Path | str, *, max_bytes: int, max_age_s: float) -> None:
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.executescript(_SCHEMA)
            self.index: dict[tuple[str, str], BootIndex] = {}
            self.bytes = 0
            self._dirty: set[tuple[str, str]] = set()
            self._early: dict[tuple[str, str], RangeSet] = {}  # confirmed before the first group was written
            self._load()
        except BaseException:
            self._db.close()
            raise

    def _load(self) -> None:
        rows = self._db.execute("select number, stream, boot, closed, timed, confirmed, lost from boot order by number")
        for number, stream, boot, closed, timed, confirmed, lost in rows:
            self.index[stream, boot] = BootIndex(
                number,
                confirmed=RangeSet(map(tuple, json.loads(confirmed))),
                lost=[Tombstone(*t) for t in json.loads(lost)],
                closed=bool(closed),
                timed=bool(timed),
            )
        by_number = {at.number: at for at in self.index.values()}
        for key, ts, size in self._db.execute("select id, ts, length(payload) from message order by id"):
            entry, seq = by_number[key >> _SEQ_BITS], key & (1 << _SEQ_BITS) - 1
            entry.from_ts = entry.from_ts if entry.held else ts
            entry.held.add(seq)
            entry.to_ts = ts
            self.bytes += size

    def write(self, entries: Sequence[Entry], states: Iterable[tuple[str, bytes]], *, durable: bool) -> None:
        """Keep messages and states in one transaction; known messages are left as they are.

        Args:
            durable: wait until it is on the disk (fsync). Otherwise it is safe from the death of this process only.
        Raises:
            sqlite3.OperationalError: the disk is full or read-only; nothing was kept.
        """
        new = [e for e in entries if not self._known(e)]
        self._db.execute(f"pragma synchronous = {'full' if durable else 'off'}")
        with self._transaction():
            for entry in new:
                at = self.index.get((entry.stream, entry.boot))
                if at is None or not at.number:  # 0: buried before anything could be written
                    number = self._db.execute(
                        "insert into boot(stream, boot, timed) values (?, ?, ?) returning number",
                        (entry.stream, entry.boot, entry.timed),
                    ).fetchone()[0]
                    confirmed = self._early.pop((entry.stream, entry.boot), RangeSet())
                    lost = at.lost if at else []
                    self.index[entry.stream, entry.boot] = BootIndex(
                        number, confirmed=confirmed, lost=lost, timed=entry.timed
                    )
            self._db.executemany(
                "insert or ignore into message values (?, ?, ?, ?)",
                [(self.index[e.stream, e.boot].number << _SEQ_BITS | e.seq, e.at, e.ts, e.payload) for e in new],
            )
            self._db.executemany("insert or replace into state values (?, ?)", list(states))
            for key in self._dirty & self.index.keys():
                self._save(*key)
        self._dirty.clear()
        for entry in new:
            at = self.index[entry.stream, entry.boot]
            at.from_ts = at.from_ts if at.held else entry.ts
            at.held.add(entry.seq)
            at.to_ts = max(at.to_ts, entry.ts)
            self.bytes += len(entry.payload)

    def _known(self, entry: Entry) -> bool:
        at = self.index.get((entry.stream, entry.boot))
        return at is not None and entry.seq in at.held

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        known = set(self.index)
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            for key in set(self.index) - known:
                del self.index[key]
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("rollback")
            raise

    def read(self, stream: str, boot: str, ranges: Iterable[tuple[int, int]], limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` messages (seq, payload) of the ranges, ascending."""
        found: list[tuple[int, bytes]] = []
        at = self.index.get((stream, boot))
        if at is None:
            return found
        for first, last in ranges:
            rows = self._db.execute(
                "select id, payload from message where id between ? and ? order by id limit ?",
                (*_ids(at.number, first, last), limit - len(found)),
            )
            found += [(key & (1 << _SEQ_BITS) - 1, payload) for key, payload in rows]
            if len(found) >= limit:
                break
        return found

    def confirm(self, stream: str, boot: str, ranges: Iterable[tuple[int, int]]) -> None:
        """The far side has stored these; they may be dropped first."""
        at = self.index.get((stream, boot))
        confirmed = at.confirmed if at else self._early.setdefault((stream, boot), RangeSet())
        for first, last in ranges:
            confirmed.add(first, last)
        self._dirty.add((stream, boot))  # kept with the next group: forgetting it costs a second confirmation

    def close_boot(self, stream: str, boot: str) -> None:
        """This boot has ended cleanly; nothing follows."""
        at = self.index.get((stream, boot))
        if at is not None and not at.closed:
            at.closed = True
            self._save(stream, boot)

    def date(self, stream: str, boot: str, messages: Iterable[tuple[int, float, bytes]]) -> None:
        """Replace untimed messages (seq, ts, payload) by dated ones, once for all."""
        at = self.index[stream, boot]
        with self._transaction():
            for seq, ts, payload in messages:
                self._db.execute(
                    "update message set ts = ?, payload = ? where id = ?",
                    (ts, payload, at.number << _SEQ_BITS | seq),
                )
                at.from_ts = ts if seq == next(iter(at.held))[0] else at.from_ts
                at.to_ts = ts
        at.timed = True
        self._save(stream, boot)

    def trim(self, now: float) -> int:
        """Drop what is too old or too much: confirmed first, oldest boot first. Returns how many were lost by it.

        What is dropped unconfirmed leaves a tombstone.
        """
        lost = 0
        for confirmed in (True, False):
            for (stream, boot), at in sorted(self.index.items(), key=lambda item: item[1].number):
                while at.held:
                    first = next(iter(at.held))[0]
                    candidates = at.held.intersection(at.confirmed) if confirmed else at.held
                    if not candidates or not self._must_drop(stream, boot, next(iter(candidates))[0], now):
                        break
                    first = next(iter(candidates))[0]
                    chunk = (first, min(first + 999, next(iter(candidates))[1]))
                    lost += self._drop(stream, boot, chunk, tombstone=not confirmed)
        for key in [k for k, at in self.index.items() if not at.held and not at.lost and at.closed]:
            self._db.execute("delete from boot where stream = ? and boot = ?", key)
            del self.index[key]
        return lost

    def _must_drop(self, stream: str, boot: str, seq: int, now: float) -> bool:
        if self.bytes > self._max_bytes:
            return True
        row = self._db.execute(
            "select at from message where id = ?", (self.index[stream, boot].number << _SEQ_BITS | seq,)
        ).fetchone()
        return bool(row and now - row[0] > self._max_age_s)

    def _drop(self, stream: str, boot: str, chunk: tuple[int, int], *, tombstone: bool) -> int:
        at = self.index[stream, boot]
        where = _ids(at.number, *chunk)
        clause = "from message where id between ? and ?"
        size, from_ts, to_ts = self._db.execute(
            f"select sum(length(payload)), min(ts), max(ts) {clause}", where
        ).fetchone()
        gone = RangeSet([chunk]).intersection(at.held).difference(at.confirmed)
        if tombstone:
            for first, last in gone:
                if at.lost and at.lost[-1].last + 1 == first:
                    at.lost[-1] = Tombstone(at.lost[-1].first, last, at.lost[-1].from_ts, to_ts)
                else:
                    at.lost.append(Tombstone(first, last, from_ts, to_ts))
        self._db.execute(f"delete {clause}", where)
        at.held.remove(*chunk)
        at.confirmed.remove(*chunk)
        self.bytes -= size or 0
        oldest = self._db.execute(
            "select ts from message where id between ? and ? order by id limit 1", _ids(at.number, 0, (1 << 32) - 1)
        ).fetchone()
        at.from_ts = oldest[0] if oldest else at.to_ts
        self._save(stream, boot)
        return gone.count if tombstone else 0

    def _save(self, stream: str, boot: str) -> None:
        at = self.index[stream, boot]
        lost = json.dumps([[t.first, t.last, t.from_ts, t.to_ts] for t in at.lost])
        self._db.execute(
            "update boot set closed = ?, timed = ?, confirmed = ?, lost = ? where stream = ? and boot = ?",
            (at.closed, at.timed, json.dumps(list(at.confirmed)), lost, stream, boot),
        )

    def bury(self, entry: Entry) -> None:
        """A message that could not be kept at all (no disk, no memory left): known, and lost."""
        at = self.index.setdefault((entry.stream, entry.boot), BootIndex(0, timed=entry.timed))
        if at.lost and at.lost[-1].last + 1 == entry.seq:
            at.lost[-1].last, at.lost[-1].to_ts = entry.seq, entry.ts
        else:
            at.lost.append(Tombstone(entry.seq, entry.seq, entry.ts, entry.ts))

    def states(self) -> dict[str, bytes]:
        return dict(self._db.execute("select name, value from state"))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            for key in self._dirty & self.index.keys():
                self._save(*key)
        self._db.close()
