"""The streams that one service publishes: identity, journal, announcements, and answers to backfill and confirm.

DESIGN (docs/streams.md): (stream, boot, seq) identifies a message everywhere; publishing never waits for the disk;
what the journal holds is announced, and exactly what a receiver misses is sent again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self

import orjson

from services.bus import journal
from services.bus.backfill import blocks, to_backfill
from services.bus.client import Bus
from services.bus.errors import EmberwatchError, PayloadError, SessionTakenOverError
from services.bus.holdings import BootIndex, Entry
from services.bus.messages import (
    MAX_PAYLOAD,
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
from services.bus.topics import STREAM_KINDS, Topic

log = logging.getLogger(__name__)

ANNOUNCE_S: Final = 30.0
QUIET_S: Final = 2.5  # a stream that pauses announces its end sooner
PAGE_RANGES: Final = 150  # ranges and as many losses; two times 200 could exceed MAX_PAYLOAD
STREAM_PAYLOAD: Final = MAX_PAYLOAD - 1024  # room for what a backfill block adds
READ_AT_ONCE: Final = 500  # messages out of the journal
ASK_RANGES: Final = 1000  # of a request, answered at once: what is missing of them must fit into an answer
GOODBYE_S: Final = 5.0
BACKFILL_RATE: Final = 3000.0  # messages a second, so that live data goes first
DURABLE_WAIT_S: Final = 0.5  # longest that an alarm event or a score waits for the disk before it is sent


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
            tail_dir=settings.tail_dir,
            counters=bus.counters,
        )
        self.boot = new_boot()
        self.confirmed: dict[tuple[str, str], RangeSet] = {}  # (stream topic, boot) -> what the far side has
        self.on_confirm: Callable[[], None] | None = None
        self._next: dict[tuple[str, str], int] = {}
        self._begun = asyncio.Event()  # a stream has begun
        self._open: set[tuple[str, str]] = set()  # boots of this process: not closed
        self._fetches: asyncio.Queue[tuple[Topic, Fetch]] = asyncio.Queue(maxsize=1000)
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
        try:
            if kind is None or issubclass(kind, asyncio.CancelledError):
                async with asyncio.timeout(GOODBYE_S):  # a broker that is stuck must not hold us
                    await self.close_boots()
        except (TimeoutError, EmberwatchError) as error:
            log.warning("the end of our streams could not be announced: %s", error or "the broker is stuck")
        finally:
            await self.outbox.__aexit__()

    async def close_boots(self) -> None:
        """Say that nothing more follows under this boot."""
        closing, self._open = list(self._open), set()

        def close(held: journal.Journal) -> None:
            for key in closing:
                held.close_boot(*key)

        await self.outbox.on_journal(close)
        if self._bus.connected:
            await self.announce()

    def use_boot(self, boot: str) -> None:
        """Continue an earlier boot: a recording is its own journal, its rows keep their identity over restarts."""
        self.boot = self._bus.boot = boot
        self._open |= {key for key in self._next if key[1] == boot}

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
            PayloadError: longer than STREAM_PAYLOAD; nothing was kept.
        """
        key = (str(topic), self.boot)
        seq = self._next.get(key, 0)
        payload = write_fields({"boot": self.boot, "seq": seq, **fields})
        if len(payload) > STREAM_PAYLOAD:
            raise PayloadError(key[0], f"payload of {len(payload)} bytes, limit {STREAM_PAYLOAD}")
        ts = datetime.fromisoformat(fields["ts"]).timestamp()
        self._next[key] = seq + 1
        if key not in self._open:
            self._open.add(key)
            self._begun.set()  # readers begin with it when they know what came before
        self.outbox.append(Entry(key[0], self.boot, seq, time.time(), ts, payload, timed))
        self._bus.counters.add("published")
        if durable or self._first:
            keeping = self.outbox.commit(durable=True) if durable else self.outbox.hand_over()
            try:
                await asyncio.wait_for(asyncio.shield(keeping), DURABLE_WAIT_S)
            except TimeoutError:  # a disk that hangs holds up no message
                self._bus.counters.add("durable_timeout")
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
        left, count = index.held.copy(), 0
        while left:
            found = await self.outbox.read(stream, boot, left, READ_AT_ONCE)
            if not found:
                break
            left.remove(0, found[-1][0])
            dated = [d for seq, payload in found if (d := _dated(seq, payload, offset_s, source)) is not None]
            count += len(dated)
            await self.outbox.on_journal(partial(_date, stream, boot, dated, False))
        await self.outbox.on_journal(partial(_date, stream, boot, [], True))
        await self.announce()
        return count

    # --- announcing -------------------------------------------------------------------------------------------------

    async def _announce_all(self) -> None:
        announced = everything = float("-inf")
        while True:
            await self._bus.wait_connected()
            now, last = time.monotonic(), self._published_at
            again = now - everything >= ANNOUNCE_S
            if again or self._begun.is_set() or (last > announced and now - last > QUIET_S):
                announced, everything = now, now if again else everything
                self._begun.clear()
                try:
                    await self.announce(again=again)
                except SessionTakenOverError:
                    raise
                except Exception:
                    self._bus.counters.add("announce_failed")
                    log.exception("announcing failed; trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._begun.wait()

    async def announce(self, *, again: bool = False) -> None:
        """Publish what the journal holds of each stream, where it has changed; `again` = also where it has not.

        Of several pages the broker retains the last one only, and a broker can lose what it retains.
        """
        streams: dict[str, list[tuple[str, BootIndex]]] = {}
        for (stream, boot), index in (await self.outbox.index()).items():
            streams.setdefault(stream, []).append((boot, index))
        for stream, boots in streams.items():
            topic = Topic.parse(stream).of_stream("journal")
            pages = self._pages(stream, boots)
            digest = b"".join(pages)
            if self._announced.get(stream) == digest and not again:
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
            stream = Topic(self._bus.node, fetch.device or topic.device, *_stream_parts(fetch.stream))
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
            self._fetches.put_nowait((stream, fetch))

    async def _answer_all(self) -> None:
        while True:
            stream, fetch = await self._fetches.get()
            try:
                await self._answer(stream, fetch)
            except Exception:  # one bad answer must not silence the next
                self._bus.counters.add("backfill_failed")
                log.exception("backfill of %s %s failed", stream, fetch.boot)

    async def _answer(self, stream: Topic, fetch: Fetch) -> None:
        left = RangeSet(fetch.ranges)
        while left:
            await self._bus.wait_connected()  # blocks for nobody would only fill the memory
            wanted = RangeSet(list(left)[:ASK_RANGES])
            found = await self.outbox.read(str(stream), fetch.boot, wanted, READ_AT_ONCE)
            held = RangeSet((seq, seq) for seq, _ in found)
            covered = wanted if len(found) < READ_AT_ONCE else wanted.intersection(RangeSet([(0, held.highest)]))
            missing = list(covered.difference(held))
            left = left.difference(covered)
            answers = [
                to_backfill(stream.kind, fetch.boot, block, [])
                for block in blocks(stream.kind, [(seq, payload, orjson.loads(payload)) for seq, payload in found])
            ]
            if missing:
                answers.append(to_backfill(stream.kind, fetch.boot, [], missing))
            for message in answers:
                await self._bus.publish(stream.of_stream("backfill"), orjson.dumps(message))
                self._bus.counters.add("backfilled", len(message["seq"]))
                await asyncio.sleep(len(message["seq"]) / BACKFILL_RATE)


Dated = tuple[int, float, bytes]  # seq, ts, payload


def _dated(seq: int, payload: bytes, offset_s: float, source: TimeSource) -> Dated | None:
    """A message with its time; None if it has one."""
    message = orjson.loads(payload)
    if message.get("time_source", "none") != "none":
        return None
    ts = message["mono"] + offset_s
    return seq, ts, orjson.dumps(message | {"ts": format_time(_time(ts)), "time_source": source})


def _date(stream: str, boot: str, dated: list[Dated], last: bool, held: journal.Journal) -> None:
    held.date(stream, boot, dated, last=last)


def _stream_parts(stream: str) -> tuple[str, str]:
    kind, dot, name = stream.partition(".")
    if not dot or kind not in STREAM_KINDS:
        raise ValueError(f"expected kind.name with kind one of {', '.join(STREAM_KINDS)}")
    return kind, name
