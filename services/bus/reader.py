"""A service's view of its node: streams in order and gap-free, everything else as it comes.

Wires feed.py to the broker: parses, asks publishers' journals for what is missing, routes backfill and confirm
commands to the own Publisher, and acknowledges a batch when the next one is asked for.
"""

import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from services.bus.backfill import from_backfill
from services.bus.client import Bus, Message
from services.bus.errors import PayloadError
from services.bus.feed import Delivery, Feed
from services.bus.messages import (
    MODELS,
    Backfill,
    Fetch,
    Journal,
    SampleId,
    StreamMessage,
    new_boot,
    read,
    write,
)
from services.bus.publisher import Publisher
from services.bus.settings import BusSettings
from services.bus.topics import PUBLISHER, Topic

log = logging.getLogger(__name__)

TICK_S: Final = 0.25
COMPLAIN_S: Final = 10.0
REPORT_EACH: Final = 1000


class Reader:
    """Iterate over `batches()`; keep `cursors()` with your state; `restore()` them before the first batch."""

    def __init__(self, bus: Bus, publisher: Publisher, settings: BusSettings, *, patience_s: float = 3.0) -> None:
        self._bus, self._publisher, self._settings = bus, publisher, settings
        self.feed = Feed(patience_s)
        self._complained = float("-inf")
        self._ticked = 0.0
        self._unreported = 0

    async def batches(self, maximum: int = 500) -> AsyncIterator[list[Delivery]]:
        """Deliveries in order; an empty list at least every quarter of a second (a tick)."""
        async for messages in self._bus.batches(maximum, tick_s=TICK_S):
            deliveries: list[Delivery] = []
            for message in messages:
                try:
                    deliveries += await self._take(message)
                except PayloadError as error:
                    self._reject(error)
            now = time.monotonic()
            if now - self._ticked >= TICK_S or not messages:
                self._ticked = now
                deliveries += await self._tick(now)
            yield deliveries
            for message in messages:
                message.ack()
            self._unreported += len(deliveries)
            if self._unreported >= REPORT_EACH:  # a recording at full speed waits for its readers' positions
                self._unreported = 0
                self._bus.beat()

    async def _take(self, message: Message) -> list[Delivery]:
        topic = Topic.parse(message.topic)
        content = read(topic, message.payload)
        if isinstance(content, StreamMessage):
            return self.feed.receive(topic, content, time.monotonic())
        if isinstance(content, Fetch):
            await self._publisher.handle(topic, content)
            return []
        if isinstance(content, Journal):
            return self.feed.announce(topic.stream_topic(), content)
        if isinstance(content, Backfill):
            return self._unpack(topic.stream_topic(), topic, content)
        return [Delivery(topic, content)]

    def _unpack(self, stream: Topic, topic: Topic, block: Backfill) -> list[Delivery]:
        now, model = time.monotonic(), MODELS[stream.kind]
        unreadable = list(block.missing)
        messages: list[StreamMessage] = []
        try:
            content = from_backfill(block)
        except ValueError as error:
            raise PayloadError(str(topic), str(error)) from None
        for seq, fields in zip(block.seq, content, strict=True):
            try:
                message = model.model_validate(fields)
                assert isinstance(message, StreamMessage)
                messages.append(message)
            except ValueError as error:
                unreadable.append((seq, seq))  # asking again would bring the same
                self._reject(PayloadError(str(topic), " ".join(str(error).split())[:300]))
        deliveries = [d for m in messages for d in self.feed.receive(stream, m, now, backfilled=True)]
        return deliveries + self.feed.missing(stream, block.boot, unreadable, now)

    async def _tick(self, now: float) -> list[Delivery]:
        deliveries, requests = self.feed.due(now)
        if not (self._bus.connected and self._bus.has_room):
            requests = []  # asked again when there is somebody to answer; the service must have its ticks
        for stream, boot, ranges in requests:
            command = Topic(stream.node, stream.device, "command", PUBLISHER[stream.kind])
            fetch = Fetch(
                correlation_id=new_boot(),
                action="backfill",
                stream=stream.stream,
                device=stream.device,
                boot=boot,
                ranges=ranges,
            )
            self._bus.counters.add("backfill_asked")
            await self._bus.publish(command, write(fetch))
        for name in ("duplicates", "late", "skipped", "waiting"):
            self._bus.counters.set(name, getattr(self.feed, name))
        return deliveries

    def _reject(self, error: PayloadError) -> None:
        self._bus.counters.add("rejected")
        if time.monotonic() - self._complained > COMPLAIN_S:
            self._complained = time.monotonic()
            log.warning("rejected (%d so far): %s", self._bus.counters["rejected"], error)

    def cursors(self) -> dict[str, Any]:
        return self.feed.cursors()

    def restore(self, cursors: dict[str, Any]) -> None:
        self.feed.restore(cursors)
        for text, (boot, following, *_) in cursors.items():
            if following:  # worked off before the restart; who waits for us must know
                topic = Topic.parse(text)
                position = SampleId(boot=boot, seq=following - 1)
                self._bus.positions[f"{topic.node}/{topic.device}/{topic.stream}"] = position
