"""The outbox: keeps what a service published, without ever making it wait for the disk.

Messages are collected in memory, handed to the operating system (tail) within half a second, and committed with an
fsync each group (30 s by default; at once where it matters). The disk is touched by one thread. When it cannot be
written (full, read-only, damaged) the service goes on, says so in its counters, and keeps what memory can hold.
"""

import asyncio
import contextlib
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson

from services.bus.counters import Counters
from services.bus.holdings import BootIndex, Entry
from services.bus.installation import FolderLock
from services.bus.journal import Journal
from services.bus.packing import pack, unpack
from services.bus.ranges import RangeSet
from services.bus.tail import Record, Tail, decode

log = logging.getLogger(__name__)

HAND_OVER_S: Final = 0.5
RETRY_S: Final = 5.0  # between attempts while the disk refuses
GROUP_MESSAGES: Final = 4000  # a group is committed early at this size
MEMORY_MESSAGES: Final = 50_000  # kept while the disk refuses, and no more than
MEMORY_BYTES: Final = 64 * 2**20
MEMORY_JOURNAL_BYTES: Final = 32 * 2**20
COMPLAIN_S: Final = 60.0
TRIM_S: Final = 600.0  # between looks for what is too old; a journal that is full is looked through at each group
T = TypeVar("T")


class Outbox:
    """Journal, tail and the thread between.

    Args:
        folder: of this service alone; locked while in use.
        group_s: most that a power cut can take [s].
        tail_dir: folder for the tail; in memory, so that it costs the disk nothing. None = `folder`.
    Raises:
        JournalError: another process uses the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        group_s: float,
        max_bytes: int,
        max_age_s: float,
        counters: Counters | None = None,
        tail_dir: Path | None = None,
    ) -> None:
        self._folder, self._path, self._group_s = folder, folder / "journal.sqlite3", group_s
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._beside = folder / "tail.log"
        self._in_memory = tail_dir and tail_dir / f"{_digest(folder)}.tail"
        self.counters = counters or Counters()
        self._pending: list[Entry] = []
        self._records: list[Record] = []  # not yet in the tail
        self._states: dict[str, bytes] = {}  # not yet committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._tail: Tail | None = None  # None: there is no disk, the journal is in memory
        self._lock: FolderLock | None = None
        self._committing, self._handing_over = asyncio.Lock(), asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = self._refused = False
        self._task: asyncio.Task[None] | None = None
        self._known_states: dict[str, bytes] = {}
        self._complained = self._trimmed = float("-inf")

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._task = asyncio.create_task(self._work(), name="outbox")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if not await self.commit(durable=True):
            log.error("%s: ending with %d messages that the disk did not take", self._folder, len(self._pending))
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _open(self) -> None:
        try:
            self._journal = self._open_disk()
        except (OSError, sqlite3.Error) as error:
            self._complain(error)
            self._journal = Journal(":memory:", max_bytes=MEMORY_JOURNAL_BYTES, max_age_s=self._max_age_s)
        self._known_states = self._journal.states()

    def _open_disk(self) -> Journal:
        """The journal with what an earlier process left in the tail. Sets `_tail` when all went well."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = FolderLock(self._folder)
        tail = self._open_tail()
        try:
            try:
                journal = self._recovered(tail)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._move_aside(error)
                journal = self._recovered(tail)
            try:
                tail.clear()
                if tail.path != self._beside:
                    self._beside.unlink(missing_ok=True)
            except OSError:
                journal.close()
                raise
        except BaseException:
            tail.close()
            raise
        self._tail = tail
        self.counters.set("journal_failing", 0)
        return journal

    def _open_tail(self) -> Tail:
        if self._in_memory is not None:
            try:
                self._in_memory.parent.mkdir(parents=True, exist_ok=True)
                return Tail(self._in_memory)
            except OSError as error:
                log.warning("%s; the tail is kept beside the journal", error)
        return Tail(self._beside)

    def _recovered(self, tail: Tail) -> Journal:
        records, damaged = tail.read()
        if tail.path != self._beside and self._beside.exists():  # of before there was a folder in memory
            other, torn = decode(content := self._beside.read_bytes())
            older = self._beside.stat().st_mtime <= tail.path.stat().st_mtime or not records
            records, damaged = (other + records if older else records + other), damaged + len(content) - torn
        entries: list[Entry] = []
        states: dict[str, bytes] = {}
        for record in records:
            if record.key.startswith("= "):
                states[record.key[2:]] = record.payload
            else:
                stream, boot, seq, at, ts, timed = record.key.split()
                entries.append(Entry(stream, boot, int(seq), float(at), float(ts), record.payload, timed == "1"))
        if damaged:
            self.counters.set("tail_damaged_bytes", damaged)
            log.warning("%s: the last %d bytes are damaged and dropped", tail.path, damaged)
        journal = Journal(self._path, max_bytes=self._max_bytes, max_age_s=self._max_age_s)
        try:
            journal.write(entries, states.items(), durable=True)
        except BaseException:
            journal.close()
            raise
        return journal

    def _move_aside(self, error: Exception) -> None:
        name = f"{self._path.stem}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}{self._path.suffix}"
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(self._path.with_name(name + suffix))
        self.counters.add("journal_corrupt")
        log.error("%s: %s; moved aside to %s, going on with an empty journal", self._path, error, name)

    def _back_to_disk(self) -> None:
        """Leave memory when the disk can be had again."""
        try:
            journal = self._open_disk()
        except (OSError, sqlite3.Error) as error:
            self._complain(error)
            return
        memory, self._journal = self._journal, journal
        journal.write(memory.entries(), memory.states().items(), durable=True)
        for key, at in memory.index.items():
            journal.confirm(*key, at.confirmed)
            for t in at.lost:
                journal.index[key].bury(t.first, t.last, t.from_ts, t.to_ts)
        memory.close()
        self._known_states = journal.states() | self._known_states
        log.warning("%s: the disk is back, the journal is on it again", self._folder)

    def _close(self) -> None:
        self._journal.close()
        if self._tail is not None:
            self._tail.close()
        if self._lock is not None:
            self._lock.release()

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Take a message; returns at once."""
        entry = replace(entry, payload=pack(entry.payload))
        self._pending.append(entry)
        key = f"{entry.stream} {entry.boot} {entry.seq} {entry.at!r} {entry.ts!r} {int(entry.timed)}"
        self._records.append(Record(key, entry.payload))
        if len(self._pending) == GROUP_MESSAGES:
            self._wake.set()

    def remember(self, name: str, state: dict[str, Any]) -> None:
        """Keep a state together with what was appended before it; replaces the earlier one of that name."""
        payload = pack(orjson.dumps(state))
        self._states[name] = self._known_states[name] = payload
        self._records.append(Record(f"= {name}", payload))

    def recall(self, name: str) -> dict[str, Any] | None:
        payload = self._known_states.get(name)
        return orjson.loads(unpack(payload)) if payload is not None else None

    async def hand_over(self) -> None:
        """Give everything to the operating system: it survives the death of this process."""
        if self._records or self._handing_over.locked():
            async with self._handing_over:
                await self._hand_over()

    async def _hand_over(self) -> None:
        """In one write, so that a state never stands there without the messages before it. Retried in order."""
        records, self._records = self._records, []
        if records and not await self._in_thread(self._to_tail, records):
            self._records = (records + self._records)[-MEMORY_MESSAGES:]

    def _to_tail(self, records: list[Record]) -> bool:
        if self._tail is None:
            return True
        try:
            self._tail.append(records)
        except OSError as error:
            self._complain(error)
            return False
        return True

    async def commit(self, *, durable: bool) -> bool:
        """Write everything to the journal; durable = fsynced. Returns False when the disk refuses.

        A caller that is cancelled meanwhile takes nothing with it.
        """
        if not self._pending and not self._states and not durable:
            return True
        return await asyncio.shield(asyncio.ensure_future(self._commit_in_turn(durable)))

    async def _commit_in_turn(self, durable: bool) -> bool:
        async with self._committing:
            async with self._handing_over:
                await self._hand_over()
                # what is taken here is in the tail, and nothing else is: the commit may clear it
                pending, states, records = self._pending, self._states, self._records
                self._pending, self._states, self._records = [], {}, []
                work = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, pending, states, durable)
            self._refused = not await work
            if self._refused:
                self._pending, self._states = pending + self._pending, states | self._states
                self._records = records + self._records
                if drop := _beyond_memory(self._pending):
                    buried, self._pending = self._pending[:drop], self._pending[drop:]
                    self.counters.add("journal_lost", len(buried))
                    await self._in_thread(self._journal.bury, buried)
            return not self._refused

    def _commit(self, pending: list[Entry], states: dict[str, bytes], durable: bool) -> bool:
        try:
            self._journal.write(pending, states.items(), durable=durable)
            if self._tail is not None:
                self._tail.clear()
                self.counters.set("journal_failing", 0)
        except sqlite3.OperationalError as error:
            self._complain(error)
            return False
        except sqlite3.DatabaseError as error:
            self._replace_damaged(error)
            return False
        except OSError as error:
            self._complain(error)
        return True

    def _replace_damaged(self, error: Exception) -> None:
        self._journal.close()
        try:
            self._move_aside(error)
            self._journal = Journal(self._path, max_bytes=self._max_bytes, max_age_s=self._max_age_s)
        except (OSError, sqlite3.Error) as second:
            self._complain(second)
            if self._tail is not None:
                self._tail.close()
                self._tail = None
            self._journal = Journal(":memory:", max_bytes=MEMORY_JOURNAL_BYTES, max_age_s=self._max_age_s)
        try:  # the states of before are gone with the file; what the service goes on with must be there again
            self._journal.write([], list(self._known_states.items()), durable=True)
        except sqlite3.OperationalError as second:
            self._complain(second)

    def _complain(self, error: Exception) -> None:
        self.counters.set("journal_failing", 1)
        self.counters.add("journal_failed")
        if time.monotonic() - self._complained > COMPLAIN_S:
            self._complained = time.monotonic()
            log.error("%s: %s; going on without it, messages stay in memory", self._folder, error)

    async def _work(self) -> None:
        due = time.monotonic() + self._group_s
        while not self._stopping:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self._wake.wait()
            try:
                await self.hand_over()
                if time.monotonic() >= due or (len(self._pending) >= GROUP_MESSAGES and not self._refused):
                    await self._group()
                    trouble = self._refused or self._tail is None
                    due = time.monotonic() + (min(RETRY_S, self._group_s) if trouble else self._group_s)
                self.counters.set("journal_bytes", self._journal.bytes)
                self.counters.set("journal_damaged", self._journal.damaged)
            except Exception as error:  # whatever it is, the next group must have its chance
                self._complain(error)

    async def _group(self) -> None:
        if self._tail is None:
            await self._in_thread(self._back_to_disk)
        await self.commit(durable=True)
        if not self._journal.full and time.monotonic() - self._trimmed < TRIM_S:
            return
        self._trimmed = time.monotonic()
        lost = await self._in_thread(self._run, lambda held: held.trim(time.time()))
        if lost:
            self.counters.add("journal_lost", lost)
            log.error("%s: the journal is full; %d unconfirmed messages dropped", self._folder, lost)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def index(self) -> dict[tuple[str, str], BootIndex]:
        """What is held, by (stream, boot) in the order of process starts; also what the next commit will take.

        It is asked for often (each stream that pauses is announced), so it costs no commit.
        """
        async with self._committing:
            pending = list(self._pending)
            await self.hand_over()  # what is announced survives this process
            found = await self._in_thread(self._run, Journal.snapshot)
        for e in pending:
            at = found.setdefault(e.key, BootIndex())
            if not at.held:
                at.from_ts, at.timed = e.ts, e.timed
            at.to_ts, at.closed = max(at.to_ts, e.ts), False
            at.held.add(e.seq)
        known = [(key, at) for key, at in found.items() if at.number or at.held or at.lost]
        return dict(sorted(known, key=lambda item: item[1].order))

    async def read(
        self, stream: str, boot: str, ranges: Iterable[tuple[int, int]], limit: int
    ) -> list[tuple[int, bytes]]:
        """Up to `limit` messages (seq, payload) of the ranges, ascending."""
        wanted = RangeSet(ranges)
        await self.commit(durable=False)
        async with self._committing:  # else what a commit that will be refused holds just now would be missing
            pending = list(self._pending)
            found = dict(await self._in_thread(self._run, lambda held: held.read(stream, boot, wanted, limit)))
        for e in pending:
            if (e.stream, e.boot) == (stream, boot) and e.seq in wanted:
                found[e.seq] = e.payload
        return [(seq, unpack(kept)) for seq, kept in sorted(found.items())[:limit]]

    async def confirm(self, stream: str, boot: str, ranges: RangeSet) -> None:
        """The far side has stored these; costs no write of its own."""
        await self._in_thread(lambda: self._journal.confirm(stream, boot, ranges))

    async def on_journal(self, work: Callable[[Journal], T]) -> T:
        """Run `work` on the journal in its thread, after what is pending."""
        await self.commit(durable=False)
        return await self._in_thread(self._run, work)

    def _run(self, work: Callable[[Journal], T]) -> T:
        try:
            return work(self._journal)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._replace_damaged(error)
            return work(self._journal)


def _digest(folder: Path) -> str:
    """Names this folder among those of other services and installations."""
    return f"{folder.name}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def _beyond_memory(entries: list[Entry]) -> int:
    """How many of the oldest entries are more than memory may hold."""
    size = 0
    for kept, entry in enumerate(reversed(entries)):
        size += len(entry.payload)
        if kept == MEMORY_MESSAGES or size > MEMORY_BYTES:
            return len(entries) - kept
    return 0
