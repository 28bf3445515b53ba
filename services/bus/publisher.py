"""The streams that one service publishes: identity, journal, announcements, and answers to backfill and confirm.

DESIGN (docs/streams.md): (stream, boot, seq) identifies a message everywhere; publishing never waits for the disk;
what the journal holds is announced, and exactly what a receiver misses is sent again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self

import orjson

from services.bus import journal
from services.bus.client import Bus
from services.bus.errors import PayloadError
from services.bus.journal import BootIndex, Entry
from services.bus.messages import (
    MAX_PAYLOAD,
    Backfill,
    Fetch,
    Journal,
    JournalRange,
    LostRange,
    SampleId,
    TimeSource,
    format_time,
    new_boot,
    write,
    write_fields,
)
from services.bus.outbox import Outbox
from services.bus.ranges import RangeSet
from services.bus.settings import BusSettings
from services.bus.topics import Topic

log = logging.getLogger(__name__)

ANNOUNCE_S: Final = 30.0
QUIET_S: Final = 2.5  # a stream that pauses announces its end sooner
PAGE_RANGES: Final = 200
BLOCK_BYTES: Final = MAX_PAYLOAD * 3 // 4
BACKFILL_RATE: Final = 3000.0  # messages a second, so that live data goes first
DURABLE_WAIT_S: Final = 0.5  # longest that an alarm event waits for its fsync before it is sent


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Publisher:
    """All streams of a service.

    Args:
        hand_over_first: give each message to the operating system before it is sent, so that a killed service never
            sends the same content twice under two identities (inference, alert). A sensor does not wait.
    """

    def __init__(self, bus: Bus, settings: BusSettings, service: str, *, hand_over_first: bool = True) -> None:
        self._bus, self._settings, self._first = bus, settings, hand_over_first
        self.outbox = Outbox(
            settings.data_dir / service,
            group_s=settings.journal_group_s,
            max_bytes=settings.journal_bytes,
            max_age_s=settings.journal_days * 86_400,
            counters=bus.counters,
        )
        self.boot = new_boot()
        self.confirmed: dict[tuple[str, str], RangeSet] = {}  # (stream topic, boot) -> what the far side has
        self.on_confirm: Callable[[], None] | None = None
        self._next: dict[tuple[str, str], int] = {}
        self._open: set[tuple[str, str]] = set()  # boots of this process: not closed
        self._fetches: asyncio.Queue[Fetch] = asyncio.Queue(maxsize=1000)
        self._tasks: list[asyncio.Task[None]] = []
        self._announced: dict[str, bytes] = {}
        self._published_at = float("-inf")

    async def __aenter__(self) -> Self:
        await self.outbox.__aenter__()
        self._bus.boot = self.boot
        for key, index in (await self.outbox.index()).items():
            self._next[key] = max(index.held.highest, max((t.last for t in index.lost), default=-1)) + 1
        self._tasks = [
            asyncio.create_task(self._answer_all(), name="publisher.backfill"),
            asyncio.create_task(self._announce_all(), name="publisher.announce"),
        ]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None or issubclass(kind, asyncio.CancelledError):
            await self.close_boots()
        await self.outbox.__aexit__()

    async def close_boots(self) -> None:
        """Say that nothing more follows under this boot."""
        closing, self._open = list(self._open), set()
        for key in closing:
            await self.outbox.on_journal(partial(_close_boot, key))
        if self._bus.connected:
            await self.announce()

    def use_boot(self, boot: str) -> None:
        """Continue an earlier boot: a recording is its own journal, its rows keep their identity over restarts."""
        self.boot = self._bus.boot = boot

    def next_seq(self, topic: Topic) -> int:
        return self._next.get((str(topic), self.boot), 0)

    # --- publishing -------------------------------------------------------------------------------------------------

    async def publish(
        self, topic: Topic, fields: dict[str, Any], *, durable: bool = False, wait: bool = True, timed: bool = True
    ) -> SampleId:
        """Give the message its identity, keep it, send it.

        Args:
            fields: the message without boot and seq; `ts` as ISO 8601 text.
            durable: on the disk before it is sent, or after half a second whatever the disk says (an alarm must out).
            wait: False = if the broker takes no more just now, only keep it; the journal brings it later.
            timed: False = the clock is not set; it is announced as untimed until `date` is called.
        Raises:
            PayloadError: longer than MAX_PAYLOAD; nothing was kept.
        """
        key = (str(topic), self.boot)
        seq = self._next.get(key, 0)
        payload = write_fields({"boot": self.boot, "seq": seq, **fields})
        if len(payload) > MAX_PAYLOAD:
            raise PayloadError(key[0], f"payload of {len(payload)} bytes, limit {MAX_PAYLOAD}")
        ts = datetime.fromisoformat(fields["ts"]).timestamp()
        self._next[key] = seq + 1
        self._open.add(key)
        self.outbox.append(Entry(key[0], self.boot, seq, time.time(), ts, payload, timed))
        self._bus.counters.add("published")
        if durable:
            try:
                await asyncio.wait_for(asyncio.shield(self.outbox.commit(durable=True)), DURABLE_WAIT_S)
            except TimeoutError:
                self._bus.counters.add("durable_timeout")
        elif self._first:
            await self.outbox.hand_over()
        if wait or (self._bus.connected and self._bus.has_room):
            await self._bus.publish(topic, payload)
        else:
            self._bus.counters.add("deferred")
        identity = SampleId.model_construct(boot=self.boot, seq=seq)
        self._bus.positions[f"{topic.node}/{topic.device}/{topic.stream}"] = identity
        self._published_at = time.monotonic()
        return identity

    def remember(self, name: str, state: dict[str, Any]) -> None:
        """Keep a state together with what was published before it (see Outbox.remember)."""
        self.outbox.remember(name, state)

    def recall(self, name: str) -> dict[str, Any] | None:
        return self.outbox.recall(name)

    async def date(self, topic: Topic, boot: str, offset_s: float, source: TimeSource) -> int:
        """Give a boot's untimed messages their time: `mono + offset_s`, once. Returns how many."""
        stream = str(topic)
        index = (await self.outbox.index()).get((stream, boot))
        if index is None or index.timed:
            return 0
        dated = []
        for seq, payload in await self.outbox.read(stream, boot, index.held, index.held.count):
            message = orjson.loads(payload)
            ts = message["mono"] + offset_s
            message |= {"ts": format_time(_time(ts)), "time_source": source}
            dated.append((seq, ts, orjson.dumps(message)))
        await self.outbox.on_journal(lambda held: held.date(stream, boot, dated))
        await self.announce()
        return len(dated)

    # --- announcing -------------------------------------------------------------------------------------------------

    async def _announce_all(self) -> None:
        announced = float("-inf")
        while True:
            await self._bus.wait_connected()
            now, last = time.monotonic(), self._published_at
            if now - announced >= ANNOUNCE_S or (last > announced and now - last > QUIET_S):
                announced = now
                await self.announce()
            await asyncio.sleep(1.0)

    async def announce(self) -> None:
        """Publish what the journal holds of each stream, where it has changed."""
        streams: dict[str, list[tuple[str, BootIndex]]] = {}
        for (stream, boot), index in (await self.outbox.index()).items():
            streams.setdefault(stream, []).append((boot, index))
        for stream, boots in streams.items():
            topic = Topic.parse(stream).of_stream("journal")
            pages = self._pages(stream, boots)
            digest = b"".join(pages)
            if self._announced.get(stream) == digest:
                continue
            for page in pages:
                await self._bus.publish(topic, page, retain=True)
            self._announced[stream] = digest

    def _pages(self, stream: str, boots: list[tuple[str, BootIndex]]) -> list[bytes]:
        ranges = [
            JournalRange(
                boot=boot,
                first=first,
                last=last,
                from_=_time(index.from_ts),
                to=_time(index.to_ts),
                closed=(stream, boot) not in self._open,
                timed=index.timed,
                tail_unknown=(stream, boot) not in self._open and not index.closed,
            )
            for boot, index in boots
            for first, last in index.held
        ]
        lost = [
            LostRange(boot=boot, first=t.first, last=t.last, from_=_time(t.from_ts), to=_time(t.to_ts))
            for boot, index in boots
            for t in index.lost
        ]
        cut = range(0, max(len(ranges), len(lost), 1), PAGE_RANGES)
        return [
            write(
                Journal(
                    page=number,
                    pages=len(cut),
                    ranges=ranges[start : start + PAGE_RANGES],
                    lost=lost[start : start + PAGE_RANGES],
                )
            )
            for number, start in enumerate(cut, 1)
        ]

    # --- answering --------------------------------------------------------------------------------------------------

    async def handle(self, topic: Topic, fetch: Fetch) -> None:
        """Carry out a backfill or confirm command that came for this service."""
        try:
            stream = Topic(self._bus.node, fetch.device, *_stream_parts(fetch.stream))
            ranges = RangeSet(fetch.ranges)
        except ValueError as error:
            raise PayloadError(str(topic), f"stream {fetch.stream[:80]!r}: {error}") from None
        if fetch.action == "confirm":
            confirmed = self.confirmed.setdefault((str(stream), fetch.boot), RangeSet())
            confirmed.update(ranges)
            await self.outbox.confirm(str(stream), fetch.boot, ranges)
            if self.on_confirm is not None:
                self.on_confirm()
        elif self._fetches.full():
            self._bus.counters.add("backfill_refused")  # the receiver asks again
        else:
            self._fetches.put_nowait(fetch)

    async def _answer_all(self) -> None:
        while True:
            fetch = await self._fetches.get()
            try:
                await self._answer(fetch)
            except PayloadError as error:
                self._bus.counters.add("backfill_failed")
                log.error("backfill: %s", error)

    async def _answer(self, fetch: Fetch) -> None:
        stream = Topic(self._bus.node, fetch.device, *_stream_parts(fetch.stream))
        left = RangeSet(fetch.ranges)
        while left:
            found = await self.outbox.read(str(stream), fetch.boot, left, 500)
            block: list[tuple[int, dict[str, Any]]] = []
            size = 0
            for seq, payload in found:
                size += len(payload)
                if block and size > BLOCK_BYTES:
                    break
                block.append((seq, orjson.loads(payload)))
            known = RangeSet((seq, seq) for seq, _ in block)
            covered = left if len(block) == len(found) < 500 else left.intersection(RangeSet([(0, known.highest)]))
            missing = list(covered.difference(known))
            left = left.difference(covered)
            message = to_backfill(stream.kind, fetch.boot, block, missing)
            await self._bus.publish(stream.of_stream("backfill"), orjson.dumps(message))
            self._bus.counters.add("backfilled", len(block))
            await asyncio.sleep(len(block) / BACKFILL_RATE)


def _close_boot(key: tuple[str, str], journal: journal.Journal) -> None:
    journal.close_boot(*key)


def _stream_parts(stream: str) -> tuple[str, str]:
    kind, dot, name = stream.partition(".")
    if not dot:
        raise ValueError("expected kind.name")
    return kind, name


def to_backfill(
    kind: str, boot: str, block: list[tuple[int, dict[str, Any]]], missing: list[tuple[int, int]]
) -> dict[str, Any]:
    """A block of past messages as the fields of a Backfill: telemetry as columns, others whole."""
    message: dict[str, Any] = {"boot": boot, "seq": [seq for seq, _ in block]}
    if missing:
        message["missing"] = missing
    if kind != "telemetry" or not block:
        return message | ({"messages": [m for _, m in block]} if block else {})
    samples = [m for _, m in block]
    names = dict.fromkeys(name for sample in samples for name in sample["channels"])
    message |= {
        "layout": samples[0]["layout"],
        "time_source": samples[-1].get("time_source", "ntp"),
        "ts": [s["ts"] for s in samples],
        "mono": [s["mono"] for s in samples],
        "channels": {name: [s["channels"].get(name) for s in samples] for name in names},
        "quality": {str(i): s["quality"] for i, s in enumerate(samples) if s.get("quality")},
    }
    return message


def from_backfill(message: Backfill) -> list[dict[str, Any]]:
    """The messages of a block, as the fields that `read` would have given. Raises ValueError on ragged columns."""
    if not message.channels:
        return [m | {"boot": message.boot} for m in message.messages]
    lengths = {len(message.seq), len(message.ts), len(message.mono), *(len(c) for c in message.channels.values())}
    if len(lengths) != 1:
        raise ValueError(f"columns of different lengths: {sorted(lengths)}")
    return [
        {
            "boot": message.boot,
            "seq": seq,
            "ts": message.ts[i],
            "mono": message.mono[i],
            "time_source": message.time_source or "ntp",
            "layout": message.layout,
            "channels": {name: column[i] for name, column in message.channels.items()},
            "quality": message.quality.get(str(i), {}),
        }
        for i, seq in enumerate(message.seq)
    ]


__all__ = ["Backfill", "Publisher", "from_backfill", "to_backfill"]
