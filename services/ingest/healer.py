"""Wires healing.py: folds receipts, asks publishers for what is missing, confirms what is stored."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from services.bus.client import Bus
from services.bus.errors import PayloadError
from services.bus.messages import Backfill, Fetch, Journal, new_boot, write
from services.bus.ranges import RangeSet
from services.bus.topics import PUBLISHER, Topic
from services.ingest import receipts
from services.ingest.database import TRANSIENT
from services.ingest.healing import TIME, Budget, Confirmations, Healing
from services.ingest.nodes import Heartbeats
from services.ingest.rows import Entry, StreamKey
from services.ingest.settings import IngestSettings

log = logging.getLogger(__name__)

TICK_S = 1.0
PAUSE_S = 0.1


class Healer:
    """Keeps the streams whole. `pool` is an asyncpg pool."""

    def __init__(self, bus: Bus, pool: Any, heartbeats: Heartbeats, settings: IngestSettings) -> None:
        self._bus, self._pool, self._heartbeats = bus, pool, heartbeats
        budget = Budget(settings.heal_rate, settings.heal_block)
        self._healing = Healing(
            time.monotonic(), budget, settings.quiet_s, settings.heal_block, settings.heal_timeout_s
        )
        self._confirmations = Confirmations(settings.confirm_s, settings.confirm_messages)
        self._wake = asyncio.Event()
        self.busy = False  # live messages are waiting: they go first

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.tick()
            except TRANSIENT as error:
                log.debug("healing waits for the database: %s", error)
            await asyncio.sleep(PAUSE_S)

    async def tick(self) -> None:
        found = await receipts.compact(self._pool)
        if found:
            self._bus.counters.add("found_again", found)
        await self._confirm()
        missing = await receipts.missing(self._pool)
        self._bus.counters.set("missing", sum(ranges.count for _, ranges in missing))
        self._bus.counters.set("withheld", self._healing.withheld)
        if self.busy:
            return
        now = time.monotonic()
        for key, ranges in missing:
            service = PUBLISHER[key.kind]
            fresh = self._heartbeats.fresh(key.node, service, now)
            wanted = self._healing.ask(key, ranges, now, fresh=fresh)
            if wanted:
                self._bus.counters.add("backfill_asked", wanted.count)
                await self._send(key, "backfill", list(wanted))

    async def stored(self, entries: Sequence[Entry]) -> None:
        """Take note of what has just been committed."""
        now = time.monotonic()
        seqs: dict[tuple[StreamKey, bool], RangeSet] = {}
        for entry in entries:
            if entry.key is not None and entry.payload:  # without a payload: an event of our own, in no journal
                ranges = seqs.setdefault((entry.key, entry.live), RangeSet())
                for seq in entry.seqs:
                    ranges.add(seq)
        for (key, live), ranges in seqs.items():
            self._confirmations.stored(key, ranges)
            if live and ranges:
                self._healing.live(key, ranges.highest, now)
            elif ranges:
                self._healing.answered(key, ranges, now, stored=True)
                self._wake.set()
        await self._confirm()

    async def announced(self, topic: Topic, journal: Journal) -> None:
        """Take a publisher's announcement (`topic` is the stream's); confirm again what of it is stored."""
        await receipts.announce(self._pool, topic, journal)
        self._healing.release(TIME, {StreamKey.of(topic, r.boot) for r in journal.ranges if r.timed})
        for boot in {r.boot for r in journal.ranges}:
            key = StreamKey.of(topic, boot)
            held = RangeSet((r.first, r.last) for r in journal.ranges if r.boot == boot)
            self._confirmations.stored(key, held.intersection(await receipts.received(self._pool, key)))
        self._wake.set()

    async def refused(self, topic: Topic, block: Backfill) -> None:
        """The publisher's journal does not have `block.missing` (`topic` is the stream's)."""
        key = StreamKey.of(topic, block.boot)
        running = self._heartbeats.boot(key.node, PUBLISHER[key.kind])
        if await receipts.lose(self._pool, key, block.missing, running):
            count = RangeSet(block.missing).count
            self._bus.counters.add("lost", count)
            log.error("%s of boot %s: %d messages are lost: %s", topic, block.boot, count, block.missing[:5])
        self._healing.answered(key, block.missing, time.monotonic(), stored=False)
        self._wake.set()

    def without_layout(self, topic: Topic, block: Backfill) -> None:
        """A block came whose layout nobody has published: not asked for again before `layout_came`."""
        key = StreamKey.of(topic, block.boot)
        self._healing.withhold(key, block.seq, f"{topic.name} {block.layout}", time.monotonic())

    def layout_came(self, profile: str, hash_: str) -> None:
        self._healing.release(f"{profile} {hash_}")

    def undated(self, topic: Topic, block: Backfill) -> list[int]:
        """A block came without a time: not asked for again before its journal says that it is dated.

        Returns what came so before: its journal says so in vain.
        """
        again = self._healing.undated(StreamKey.of(topic, block.boot), block.seq, time.monotonic())
        return [seq for seq in block.seq if seq in again]

    async def _confirm(self) -> None:
        if not self._bus.connected:
            return
        for key, ranges in self._confirmations.due(time.monotonic()):
            await self._send(key, "confirm", ranges)

    async def _send(self, key: StreamKey, action: str, ranges: Iterable[tuple[int, int]]) -> None:
        stream = Topic(*key[:4])
        command = Topic(key.node, key.device, "command", PUBLISHER[key.kind])
        fetch = Fetch.model_validate(
            {
                "correlation_id": new_boot(),
                "action": action,
                "stream": stream.stream,
                "device": key.device,
                "boot": key.boot,
                "ranges": list(ranges),
            }
        )
        with contextlib.suppress(PayloadError):  # ranges_max and head() keep it far below the limit
            await self._bus.publish(command, write(fetch))
