"""The outbox: keeps what a service published, without ever making it wait for the disk.

Messages are collected in memory, handed to the operating system (tail) within half a second, and committed with an
fsync each group (30 s by default; at once where it matters). The disk is touched by one thread. When it cannot be
written (full, read-only, damaged) the service goes on, says so in its counters, and keeps what memory can hold.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson

from services.bus.counters import Counters
from services.bus.installation import FolderLock
from services.bus.journal import BootIndex, Entry, Journal
from services.bus.ranges import RangeSet
from services.bus.tail import Record, Tail

log = logging.getLogger(__name__)

HAND_OVER_S: Final = 0.5
GROUP_MESSAGES: Final = 4000  # a group is committed early at this size
MEMORY_MESSAGES: Final = 50_000  # kept while the disk refuses
MEMORY_JOURNAL_BYTES: Final = 32 * 2**20
T = TypeVar("T")


class Outbox:
    """Journal, tail and the thread between.

    Args:
        folder: of this service alone; locked while in use.
        group_s: most that a power cut can take [s].
    Raises:
        JournalError: another process uses the folder.
    """

    def __init__(
        self, folder: Path, *, group_s: float, max_bytes: int, max_age_s: float, counters: Counters | None = None
    ) -> None:
        self._folder, self._group_s = folder, group_s
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self.counters = counters or Counters()
        self._pending: list[Entry] = []
        self._records: list[Record] = []  # not yet in the tail
        self._states: dict[str, bytes] = {}  # not yet committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._tail: Tail | None = None
        self._lock: FolderLock | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._known_states: dict[str, bytes] = {}
        self._complained = 0.0

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._in_thread(self._open)
        self._task = asyncio.create_task(self._work(), name="outbox")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.commit(durable=True)
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _open(self) -> None:
        path = self._folder / "journal.sqlite3"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self._folder)
            self._tail = Tail(self._folder / "tail.log")
            self._journal = self._open_journal(path)
            self._recover()
        except (OSError, sqlite3.OperationalError) as error:
            self.counters.set("journal_failing", 1)
            log.error("%s: %s; keeping messages in memory only", path, error)
            self._tail = None
            self._journal = Journal(":memory:", max_bytes=MEMORY_JOURNAL_BYTES, max_age_s=self._max_age_s)
        self._known_states = self._journal.states()

    def _open_journal(self, path: Path) -> Journal:
        def attempt() -> Journal:
            return Journal(path, max_bytes=self._max_bytes, max_age_s=self._max_age_s)

        try:
            return attempt()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._move_aside(path, error)
            return attempt()

    def _move_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(f"{path.stem}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}{path.suffix}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.counters.add("journal_corrupt")
        log.error("%s: %s; moved aside to %s, going on with an empty journal", path, error, aside.name)

    def _recover(self) -> None:
        """Commit what an earlier process left in the tail."""
        assert self._tail is not None
        records, damaged = self._tail.read()
        entries: list[Entry] = []
        states: dict[str, bytes] = {}
        for record in records:
            if record.key.startswith("= "):
                states[record.key[2:]] = record.payload
            else:
                stream, boot, seq, at, ts, timed = record.key.split()
                entries.append(Entry(stream, boot, int(seq), float(at), float(ts), record.payload, timed == "1"))
        if damaged:
            self.counters.add("tail_damaged_bytes", damaged)
            log.warning("%s: the last %d bytes are damaged and dropped", self._tail.path, damaged)
        self._journal.write(entries, states.items(), durable=True)
        self._tail.clear()

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
        self._pending.append(entry)
        key = f"{entry.stream} {entry.boot} {entry.seq} {entry.at!r} {entry.ts!r} {int(entry.timed)}"
        self._records.append(Record(key, entry.payload))
        if len(self._pending) >= GROUP_MESSAGES:
            self._wake.set()
        if len(self._pending) > MEMORY_MESSAGES:
            self._journal.bury(self._pending.pop(0))
            self.counters.add("journal_dropped")

    def remember(self, name: str, state: dict[str, Any]) -> None:
        """Keep a state together with what was appended before it; replaces the earlier one of that name."""
        payload = orjson.dumps(state)
        self._states[name] = self._known_states[name] = payload
        self._records.append(Record(f"= {name}", payload))

    def recall(self, name: str) -> dict[str, Any] | None:
        payload = self._known_states.get(name)
        return orjson.loads(payload) if payload is not None else None

    async def hand_over(self) -> None:
        """Give everything to the operating system: it survives the death of this process."""
        if self._records:
            records, self._records = self._records, []
            await self._in_thread(self._hand_over, records)

    def _hand_over(self, records: list[Record]) -> None:
        if self._tail is None:
            return
        try:
            self._tail.append(records)
        except OSError as error:
            self._complain(error)

    async def commit(self, *, durable: bool) -> bool:
        """Write everything to the journal; durable = fsynced. Returns False when the disk refuses."""
        if not self._pending and not self._states and not durable:
            return True
        await self.hand_over()
        pending, states = self._pending, self._states
        self._pending, self._states = [], {}
        if await self._in_thread(self._commit, pending, states, durable):
            return True
        self._pending, self._states = pending + self._pending, states | self._states
        return False

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
            path = self._folder / "journal.sqlite3"
            self._journal.close()
            try:
                self._move_aside(path, error)
                self._journal = self._open_journal(path)
            except (OSError, sqlite3.Error) as second:
                self._complain(second)
                self._journal = Journal(":memory:", max_bytes=MEMORY_JOURNAL_BYTES, max_age_s=self._max_age_s)
            return False
        except OSError as error:
            self._complain(error)
        return True

    def _complain(self, error: Exception) -> None:
        self.counters.set("journal_failing", 1)
        self.counters.add("journal_failed")
        if time.monotonic() - self._complained > 60:
            self._complained = time.monotonic()
            log.error("%s: %s; going on without it, messages stay in memory", self._folder, error)

    async def _work(self) -> None:
        last_group = time.monotonic()
        while True:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self._wake.wait()
            await self.hand_over()
            if len(self._pending) >= GROUP_MESSAGES or time.monotonic() - last_group >= self._group_s:
                last_group = time.monotonic()
                await self.commit(durable=True)
                lost = await self._in_thread(self._journal.trim, time.time())
                if lost:
                    self.counters.add("journal_lost", lost)
                    log.error("%s: the journal is full; %d unconfirmed messages dropped", self._folder, lost)
            self.counters.set("journal_bytes", self._journal.bytes)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def index(self) -> dict[tuple[str, str], BootIndex]:
        """What is held, by (stream, boot) in the order of process starts. Commits what is pending first."""
        await self.commit(durable=False)
        return dict(sorted(self._journal.index.items(), key=lambda item: item[1].number))

    async def read(
        self, stream: str, boot: str, ranges: Iterable[tuple[int, int]], limit: int
    ) -> list[tuple[int, bytes]]:
        """Up to `limit` messages (seq, payload) of the ranges, ascending."""
        wanted = list(ranges)
        if await self.commit(durable=False):
            return await self._in_thread(self._journal.read, stream, boot, wanted, limit)
        found = dict(await self._in_thread(self._journal.read, stream, boot, wanted, limit))
        for e in self._pending:
            if (e.stream, e.boot) == (stream, boot) and any(a <= e.seq <= b for a, b in wanted):
                found[e.seq] = e.payload
        return sorted(found.items())[:limit]

    async def confirm(self, stream: str, boot: str, ranges: RangeSet) -> None:
        """The far side has stored these; costs no write of its own."""
        await self._in_thread(lambda: self._journal.confirm(stream, boot, ranges))

    async def on_journal(self, work: Callable[[Journal], T]) -> T:
        """Run `work` on the journal in its thread, after what is pending."""
        await self.commit(durable=False)
        return await self._in_thread(lambda: work(self._journal))
