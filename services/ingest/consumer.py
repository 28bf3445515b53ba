"""One message -> what it brings: rows, a state, a request answered, or a place in quarantine."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import asyncpg

from services.bus.client import Message
from services.bus.counters import Counters
from services.bus.errors import PayloadError
from services.bus.messages import (
    AlarmStatus,
    Backfill,
    Journal,
    Layout,
    Model,
    Sample,
    Status,
    StreamMessage,
    read,
)
from services.bus.profiles import load_profile
from services.bus.topics import CLOUD_NODE, PUBLISHER, STREAM_KINDS, Topic
from services.ingest.database import TRANSIENT
from services.ingest.duplicates import DuplicateNodes
from services.ingest.healer import Healer
from services.ingest.layouts import Layouts
from services.ingest.nodes import Heartbeats
from services.ingest.rows import TIME_AT, Entry, StreamKey, backfill_entries, in_range, out_of_range, row
from services.ingest.states import store_alarm, store_status
from services.ingest.views import refresh_view

log = logging.getLogger(__name__)

HELD_MAX: Final = 2000  # samples that wait for their layout
T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    message: Message
    topic: Topic
    until: float


class Consumer:
    """Decodes what arrives. Only what needs the store at once (layouts, states) touches it here."""

    def __init__(
        self,
        pool: Any,
        healer: Healer,
        heartbeats: Heartbeats,
        duplicates: DuplicateNodes,
        counters: Counters,
        layout_wait_s: float,
    ) -> None:
        self._pool, self._healer, self._heartbeats = pool, healer, heartbeats
        self._duplicates, self._counters, self._layout_wait_s = duplicates, counters, layout_wait_s
        self._layouts = Layouts(pool)
        self._held: dict[tuple[str, str], list[_Held]] = {}  # (profile, hash) -> samples without a layout

    async def take(self, message: Message) -> list[Entry]:
        """What a message brings. Its last entry carries the message, so it is acknowledged when all is committed."""
        try:
            topic = Topic.parse(message.topic)
            content = read(topic, message.payload)
            if isinstance(content, StreamMessage):
                return await self._stream(message, topic, content)
            if isinstance(content, Backfill):
                return await self._backfill(message, topic.stream_topic(), content)
            return [*await self._state(topic, content), Entry(message.topic, b"", message)]
        except PayloadError as error:
            self._counters.add("rejected")
            return [Entry(message.topic, message.payload, message, reason=error.reason)]

    async def due(self, now: float) -> list[Entry]:
        """Samples whose layout has not come in time: set aside, and not counted as received, so they are healed."""
        entries = []
        for (profile, hash_), held in list(self._held.items()):
            late = [h for h in held if now >= h.until]
            reason = f"layout {hash_} of profile {profile} is unknown"
            entries += [Entry(h.message.topic, h.message.payload, h.message, reason=reason) for h in late]
            left = [h for h in held if now < h.until]
            if left:
                self._held[profile, hash_] = left
            else:
                del self._held[profile, hash_]
        return entries

    async def _stream(self, message: Message, topic: Topic, content: StreamMessage) -> list[Entry]:
        entry = Entry(message.topic, message.payload, message, live=True)
        layout = None
        if isinstance(content, Sample):
            if content.time_source == "none":
                self._counters.add("untimed")  # the publisher dates it later and sends it again
                return [Entry(message.topic, b"", message)]
            layout = self._layouts.known(topic.name, content.layout)
            if layout is None:
                waiting = self._held.get((topic.name, content.layout))
                if waiting is None:
                    layout = await self._persist(lambda: self._layouts.find(topic.name, content.layout))
                if layout is None:
                    return self._hold(message, topic, content.layout)
        key = StreamKey.of(topic, content.boot)
        try:
            rows = list(row(content, layout))
        except ValueError as error:
            self._counters.add("rejected")
            entry.key, entry.seqs, entry.reason = key, [content.seq], str(error)
            return [entry]
        at = TIME_AT[PUBLISHED[topic.kind]]
        wrong = next((r[at] for r in rows if not in_range(r[at])), None)
        if wrong is not None:  # not counted as received: if its journal dates it, it comes again
            self._counters.add("rejected")
            entry.reason = out_of_range(wrong)
            return [entry]
        entry.key, entry.rows, entry.seqs = key, rows, [content.seq]
        return [entry]

    def _hold(self, message: Message, topic: Topic, hash_: str) -> list[Entry]:
        held = self._held.setdefault((topic.name, hash_), [])
        if sum(map(len, self._held.values())) >= HELD_MAX:
            reason = f"layout {hash_} of profile {topic.name} is unknown"
            return [Entry(message.topic, message.payload, message, reason=reason)]
        held.append(_Held(message, topic, time.monotonic() + self._layout_wait_s))
        return []

    async def _backfill(self, message: Message, stream: Topic, block: Backfill) -> list[Entry]:
        acknowledge = Entry(message.topic, b"", message)
        if block.missing:
            await self._persist(lambda: self._healer.refused(stream, block))
        if not block.seq:
            return [acknowledge]
        key = StreamKey.of(stream, block.boot)
        if block.time_source == "none":
            self._counters.add("untimed", len(block.seq))
            again = self._healer.undated(stream, block)
            reason = "ts: not dated, though its journal says so"
            return [Entry(message.topic, message.payload, None, key, [], again, reason), acknowledge][not again :]
        layout = None
        if block.layout is not None:
            hash_ = block.layout
            layout = await self._persist(lambda: self._layouts.find(stream.name, hash_))
            if layout is None and stream.kind == "telemetry":
                self._counters.add("without_layout", len(block.seq))
                self._healer.without_layout(stream, block)
                return [acknowledge]
        try:
            if stream.kind == "telemetry" and layout is None:
                raise PayloadError(message.topic, "layout: missing")
            good, bad = backfill_entries(stream, message.payload, block, layout)
        except PayloadError as error:  # asked again it would be the same: it is received, and set aside
            self._counters.add("rejected", len(block.seq))
            return [Entry(message.topic, message.payload, None, key, [], block.seq, error.reason), acknowledge]
        self._counters.add("healed", len(good.seqs))
        self._counters.add("rejected", len(bad))
        return [good, *bad, acknowledge]

    async def _state(self, topic: Topic, content: Model) -> list[Entry]:
        """Keep a retained state. A state that the database refuses (a zero byte in a text) goes to quarantine."""
        try:
            if isinstance(content, Layout):
                return await self._layout(topic, content)
            if isinstance(content, Status):
                return await self._status(topic, content)
            if isinstance(content, Journal):
                stream = topic.stream_topic()
                await self._persist(lambda: self._healer.announced(stream, content))
            elif isinstance(content, AlarmStatus):
                boot = self._heartbeats.boot(topic.node, PUBLISHER["event"])
                await self._persist(lambda: store_alarm(self._pool, topic, content, boot))
        except (asyncpg.PostgresError, ValueError, OverflowError) as error:
            raise PayloadError(str(topic), f"the database refuses it: {error}") from None
        return []

    async def _layout(self, topic: Topic, layout: Layout) -> list[Entry]:
        _, new = await self._persist(lambda: self._layouts.publish(topic, layout))
        self._healer.layout_came(topic.name, layout.hash)
        if new:
            try:
                known = load_profile(topic.name)
            except Exception:  # a profile of somebody else: its view has the layout's order
                known = None
            try:
                await refresh_view(self._pool, topic.name, known)
            except (asyncpg.PostgresError, *TRANSIENT) as error:
                self._counters.add("view_failed")
                log.error("the SQL view of profile %s: %s", topic.name, error)
        entries: list[Entry] = []
        for held in self._held.pop((topic.name, layout.hash), []):
            entries += await self.take(held.message)
        return entries

    async def _status(self, topic: Topic, status: Status) -> list[Entry]:
        now, clock = time.monotonic(), datetime.now(UTC)
        if not self._heartbeats.heard(topic.node, topic.name, status, now, clock):
            return []
        alive = self._heartbeats.fresh(topic.node, topic.name, now)
        await self._persist(lambda: store_status(self._pool, topic, status, clock, alive=alive))
        if status.installation and status.state == "online" and topic.node != CLOUD_NODE:
            return await self._duplicates.heard(topic.node, status.installation, now)
        return []

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it however long the database is away; meanwhile nothing more is taken in."""
        pause = 0.1
        while True:
            try:
                return await work()
            except TRANSIENT as error:
                self._counters.add("database_errors")
                log.debug("waiting for the database: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)


PUBLISHED: Final = dict(zip(STREAM_KINDS, ("sample", "estimate", "score", "event"), strict=True))
