"""The outbox's journal: every message a service published, in SQLite (WAL), as a ring of size and age.

Synchronous and for one thread; outbox.py puts a thread and the tail around it. Messages of one stream that follow each
other and are written together are one row, a block. Whole blocks are dropped, confirmed ones first; what must go
unconfirmed leaves a tombstone, which is announced as lost.
"""

import contextlib
import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from services.bus.holdings import SEQ_BITS, SEQ_MASK, BootIndex, Entry, Key, Tombstone, finished
from services.bus.packing import pack_block, unpack_block
from services.bus.ranges import RangeSet

TRIM_ROWS: Final = 20_000  # blocks dropped at most in one go; the rest with the next group
BLOCK_MESSAGES: Final = 128  # in one row at most; reading one of them inflates them all
BLOCK_BYTES: Final = 128 * 1024  # of messages packed one by one
CONFIRMED_WRITES: Final = 20  # confirmations are kept with each 20th group; the far side repeats those forgotten
PAGE_BYTES: Final = 1024  # of a new file; a commit writes whole pages, and in most of them little is new
CHECKPOINT_PAGES: Final = 4000  # of the log; a page that is written again until then goes into the file once
_SCHEMA: Final = """
create table if not exists message(id integer primary key, at real, ts real, payload blob,
  count integer not null default 1, to_ts real);
create table if not exists boot(number integer primary key, stream text, boot text, closed integer default 0,
  timed integer default 1, confirmed text default '[]', lost text default '[]', unique (stream, boot));
create table if not exists state(name text primary key, value blob) without rowid;
"""
_GROWN: Final = ("count integer not null default 1", "to_ts real")  # what files of before blocks have not
_SELECT: Final = "from message where id between ? and ?"
_INSERT: Final = "insert or ignore into message(id, at, ts, payload, count, to_ts) values (?, ?, ?, ?, ?, ?)"


class Journal:
    """The database.

    Args:
        path: file, or ":memory:" when no disk can be had.
        max_bytes: payload bytes to keep at most, as they are kept.
        max_age_s: by receipt time; what has no time yet does not age.
    Raises:
        sqlite3.DatabaseError: not a database, or damaged.
    """

    def __init__(self, path: Path | str, *, max_bytes: int, max_age_s: float) -> None:
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self.index: dict[Key, BootIndex] = {}
        self.bytes = 0
        self._dirty: set[Key] = set()
        self._confirmed: set[Key] = set()  # keys of which only confirmations are new
        self._written = 0  # transactions
        self._early: dict[Key, RangeSet] = {}  # confirmed before the first group was written
        self._unsynced = False
        self.damaged = 0  # messages of blocks that could not be read; lost
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute(f"pragma page_size = {PAGE_BYTES}")
            self._db.execute("pragma locking_mode = exclusive")  # nobody else reads it: no -shm file to be written
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._db.executescript(_SCHEMA)
            self._grow()
            self._load()
        except ValueError as error:
            self._db.close()
            raise sqlite3.DatabaseError(f"content: {error}") from None
        except BaseException:
            self._db.close()
            raise

    def _grow(self) -> None:
        """Add what a file of an earlier release has not; its rows are blocks of one."""
        have = {row[1] for row in self._db.execute("pragma table_info(message)")}
        for column in _GROWN:
            if column.partition(" ")[0] not in have:
                self._db.execute(f"alter table message add column {column}")

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
        blocks = self._db.execute("select id, ts, coalesce(to_ts, ts), count, length(payload) from message order by id")
        for id_, from_ts, to_ts, count, size in blocks:
            at, seq = by_number.get(id_ >> SEQ_BITS), id_ & SEQ_MASK
            if at is None:
                raise ValueError(f"message {id_} belongs to no boot")
            at.from_ts = at.from_ts if at.held else from_ts
            at.held.add(seq, seq + count - 1)
            at.to_ts = max(at.to_ts, to_ts)
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
        if self._written % CONFIRMED_WRITES == 0:
            self._dirty |= self._confirmed
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
        blocks = [(block, pack_block([(e.ts, e.payload) for e in block])) for block in _blocks(new.values())]
        numbers: dict[Key, int] = {}
        with self._transaction("full" if durable else "normal"):
            for key, at in (changed | opened).items():
                numbers[key] = at.number or self._number(key)
                self._save(key, at)
            self._db.executemany(_INSERT, [self._row(numbers, block, packed) for block, packed in blocks])
            self._db.executemany("insert or replace into state values (?, ?)", list(states))
            if durable and self._unsynced:  # SQLite syncs only a commit that has written something
                version = self._db.execute("pragma user_version").fetchone()[0]
                self._db.execute(f"pragma user_version = {(version + 1) % 2**31}")
        self._unsynced = not durable
        self._written += 1
        self._confirmed -= self._dirty
        self._dirty.clear()
        for key in opened:
            self._early.pop(key, None)
        self.index |= opened
        for key, number in numbers.items():
            self.index[key].number = number
        for block, packed in blocks:
            at = self.index[block[0].key]
            at.from_ts = at.from_ts if at.held else min(e.ts for e in block)
            at.held.add(block[0].seq, block[-1].seq)
            at.to_ts = max(at.to_ts, *(e.ts for e in block))
            self.bytes += len(packed)

    def _row(
        self, numbers: dict[Key, int], block: list[Entry], packed: bytes
    ) -> tuple[int, float, float, bytes, int, float]:
        key, times = block[0].key, [e.ts for e in block]
        id_ = (numbers.get(key) or self.index[key].number) << SEQ_BITS | block[0].seq
        return id_, max(e.at for e in block), min(times), packed, len(block), max(times)

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
        self._confirmed.add((stream, boot))  # forgetting it costs a second confirmation, keeping it a page each time

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
        dated = {seq: (ts, payload) for seq, ts, payload in messages}
        with self._transaction("full"):
            touched = self._touched(at, "id, ts, count, payload", min(dated), max(dated)) if dated else ()
            for id_, ts, count, kept in list(touched):
                before = unpack_block(kept, count, ts)
                after = [dated.get((id_ & SEQ_MASK) + i, message) for i, message in enumerate(before)]
                packed, times = pack_block(after), [ts for ts, _ in after]
                self._db.execute(
                    "update message set at = ?, ts = ?, to_ts = ?, payload = ? where id = ?",
                    (max(times), min(times), max(times), packed, id_),
                )
                grown += len(packed) - len(kept)
            self._save(key, at)
            if at.held:
                at.from_ts, at.to_ts = self._times(at, 0, at.held.highest)
        self.index[key] = at
        self.bytes += grown

    # --- the ring ---------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self.bytes > self._max_bytes

    def trim(self, now: float) -> int:
        """Drop what is too old or too much: confirmed first, oldest receipt first. Returns how many were lost by it.

        What is dropped unconfirmed leaves a tombstone.
        """
        drop: dict[Key, RangeSet] = {}
        freed = dropped = 0
        for confirmed in (True, False):
            rows = [self._rows(key, at, drop.get(key), now, confirmed=confirmed) for key, at in self._in_order()]
            for received, _, key, seq, count, size in heapq.merge(*rows):
                if self.bytes - freed <= self._max_bytes and now - received <= self._max_age_s:
                    break
                if dropped == TRIM_ROWS:
                    break
                dropped += 1
                drop.setdefault(key, RangeSet()).add(seq, seq + count - 1)
                freed += size
        return self._drop(drop, freed) if drop or finished(self.index) else 0

    def _in_order(self) -> list[tuple[Key, BootIndex]]:
        return sorted(self.index.items(), key=lambda item: item[1].order)

    def _rows(
        self, key: Key, at: BootIndex, gone: RangeSet | None, now: float, *, confirmed: bool
    ) -> Iterator[tuple[float, float, Key, int, int, int]]:
        """Blocks of a boot that may be dropped, ascending: (received, order, key, first seq, messages, bytes)."""
        candidates = at.held.intersection(at.confirmed) if confirmed else at.held
        for first, last in candidates.difference(gone) if gone else candidates:
            rows = self._db.execute(f"select id, at, count, length(payload) {_SELECT} order by id", at.ids(first, last))
            for id_, received, count, size in rows:
                if (id_ & SEQ_MASK) + count - 1 <= last:  # else its end is not confirmed
                    yield (received if at.timed else now), at.order, key, id_ & SEQ_MASK, count, size

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
            over = finished(self.index | changed)
            self._db.executemany("delete from boot where stream = ? and boot = ?", over)
        self.index |= changed
        self._unsynced = True
        for key in over:
            del self.index[key]
        self.bytes -= freed
        return lost

    def _times(self, at: BootIndex, first: int, last: int) -> tuple[float, float]:
        blocks = list(self._touched(at, "id, ts, count, coalesce(to_ts, ts)", first, last))
        return min(from_ts for _, from_ts, _, _ in blocks), max(to_ts for _, _, _, to_ts in blocks)

    def _touched(self, at: BootIndex, columns: str, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        """Blocks that have a message of first..last, ascending. `columns` begins with id and has count as its third."""
        low, high = at.ids(first, last)
        before = "select max(id) from message where id between ? and ?"
        rows = self._db.execute(
            f"select {columns} from message where id between coalesce(({before}), ?) and ? order by id",
            (at.ids(0, 0)[0], low, low, high),
        )
        return (row for row in rows if row[0] + row[2] > low)

    # --- reading ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[Key, BootIndex]:
        """A copy of the index, with what was confirmed before it was written."""
        early = {key: BootIndex(confirmed=confirmed.copy()) for key, confirmed in self._early.items()}
        return early | {key: at.copy() for key, at in self.index.items()}

    def read(self, stream: str, boot: str, ranges: Iterable[tuple[int, int]], limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` messages (seq, payload) of the ranges, ascending. A damaged block becomes a loss."""
        found: list[tuple[int, bytes]] = []
        at = self.index.get((stream, boot))
        if at is None or not at.number:
            return found
        damaged, freed = RangeSet(), 0
        inflated: tuple[int, list[bytes]] = (-1, [])  # many small ranges may lie in one block
        for first, last in ranges:
            for id_, ts, count, kept in self._touched(at, "id, ts, count, payload", first, last):
                head = id_ & SEQ_MASK
                if len(found) >= limit or head in damaged:
                    break
                try:
                    if inflated[0] != id_:
                        inflated = id_, [payload for _, payload in unpack_block(kept, count, ts)]
                except ValueError:
                    damaged.add(head, head + count - 1)
                    freed += len(kept)
                    continue
                found += [(head + i, p) for i, p in enumerate(inflated[1]) if first <= head + i <= last]
        if damaged:
            self.damaged += damaged.count
            self._drop({(stream, boot): damaged}, freed)
        return found[:limit]

    def entries(self) -> list[Entry]:
        """Everything that is held: to move a journal that was kept in memory to a disk that has come back."""
        found: list[Entry] = []
        for (stream, boot), at in self._in_order():
            rows = self._db.execute(f"select id, at, ts, count, payload {_SELECT} order by id", at.ids(0, SEQ_MASK))
            for id_, received, ts, count, kept in rows:
                found += [
                    Entry(stream, boot, (id_ & SEQ_MASK) + i, received, when, payload, at.timed)
                    for i, (when, payload) in enumerate(unpack_block(kept, count, ts))
                ]
        return found

    def states(self) -> dict[str, bytes]:
        return dict(self._db.execute("select name, value from state"))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            for key in (self._dirty | self._confirmed) & self.index.keys():
                self._save(key, self.index[key])
        self._db.close()


def _blocks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Messages that follow each other in one boot, in blocks."""
    block: list[Entry] = []
    size = 0
    for e in sorted(entries, key=lambda e: (e.key, e.seq)):
        follows = block and e.key == block[-1].key and e.seq == block[-1].seq + 1
        if block and not (follows and len(block) < BLOCK_MESSAGES and size + len(e.payload) <= BLOCK_BYTES):
            yield block
            block, size = [], 0
        block.append(e)
        size += len(e.payload)
    if block:
        yield block
