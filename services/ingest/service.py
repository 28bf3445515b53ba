"""MQTT -> PostgreSQL. Wires only: consumer.py decodes, writer.py stores and acknowledges, healer.py asks for holes."""

import asyncio
import contextlib
import logging
import time
from typing import Any, Self

from services.bus.client import Bus
from services.bus.topics import STREAM_KINDS, topic_filter
from services.ingest.consumer import Consumer
from services.ingest.database import TRANSIENT, connect
from services.ingest.duplicates import DuplicateNodes
from services.ingest.healer import Healer
from services.ingest.nodes import Heartbeats
from services.ingest.rollups import MINUTES_AT_ONCE, work_off
from services.ingest.rows import Entry
from services.ingest.settings import IngestSettings
from services.ingest.writer import Writer

log = logging.getLogger(__name__)

QUEUED_BATCHES = 2  # one is decoded while another commits; more would only be memory
TICK_S = 0.5
_TRIM = "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - $1"


class Ingest:
    """The running service: `async with Ingest(settings) as ingest`, then `await ingest.run()`."""

    def __init__(self, settings: IngestSettings) -> None:
        self.settings = settings
        shared = f"$share/{settings.share}/" if settings.share else ""
        self.bus = Bus(
            settings,
            service="ingest" + (f"-{settings.replica}" if settings.replica else ""),
            subscribe=[
                *(topic_filter(kind=kind) for kind in ("layout", "status", "journal", "alarm", "reply")),
                *(shared + topic_filter(kind=kind) for kind in (*STREAM_KINDS, "backfill")),
            ],
        )
        self.heartbeats = Heartbeats()
        self.writer = Writer(settings.database_url, self.bus.counters)
        self.pool: Any = None
        self.failed: BaseException | None = None
        self._queue: asyncio.Queue[tuple[float, list[Entry]]] = asyncio.Queue(QUEUED_BATCHES)
        self._oldest: float | None = None

    async def __aenter__(self) -> Self:
        # The session exists before the database answers: what comes meanwhile is kept by the broker.
        await self.bus.__aenter__()
        self.pool = await connect(self.settings.database_url)
        self.healer = Healer(self.bus, self.pool, self.heartbeats, self.settings)
        self.duplicates = DuplicateNodes(self.bus)
        await self.duplicates.resume(self.pool, time.monotonic())
        self.consumer = Consumer(
            self.pool,
            self.healer,
            self.heartbeats,
            self.duplicates,
            self.bus.counters,
            self.settings.layout_wait_s,
        )
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.writer.close()
        await self.bus.__aexit__(*exc)
        self.pool.terminate()

    @property
    def lag_s(self) -> float:
        """Age of the oldest message that was taken and is not committed [s]."""
        return time.monotonic() - self._oldest if self._oldest is not None else 0.0

    async def run(self) -> None:
        """Work until cancelled. Raises SessionTakenOverError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._decode(), name="ingest.decode")
            tasks.create_task(self._write(), name="ingest.write")
            tasks.create_task(self.healer.run(), name="ingest.heal")
            tasks.create_task(self._maintain(), name="ingest.maintain")

    async def _decode(self) -> None:
        size = self.settings.batch_size
        async for batch in self.bus.batches(size, tick_s=TICK_S):
            now = time.monotonic()
            self.healer.busy = len(batch) == size
            entries = [entry for message in batch for entry in await self.consumer.take(message)]
            entries += await self.consumer.due(now)
            entries += await self.duplicates.over(now)
            if entries:
                await self._queue.put((now, entries))

    async def _write(self) -> None:
        while True:
            self._oldest, entries = await self._queue.get()
            await self.writer.write(entries)
            await self.healer.stored(entries)
            self._oldest = None

    async def _maintain(self) -> None:
        """Rollups, in the time that is left: after each run it rests as long as it worked."""
        rest = self.settings.rollup_s
        while True:
            await asyncio.sleep(rest)
            started, done = time.monotonic(), 0
            with contextlib.suppress(*TRANSIENT):
                async with self.pool.acquire() as connection:
                    done = await work_off(connection)
                if done < MINUTES_AT_ONCE:
                    await self.pool.execute(_TRIM, self.settings.quarantine_rows)
            rest = time.monotonic() - started if done == MINUTES_AT_ONCE else self.settings.rollup_s
