"""Sources in, telemetry out. Wires only: replay.py publishes a recording, live.py what is measured now; that nothing is
lost is decided in services/bus/publisher.py."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from services.bus.client import Bus
from services.bus.errors import PayloadError
from services.bus.messages import Event, Fetch, Model, Status, read
from services.bus.publisher import Publisher
from services.bus.settings import BusSettings
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic, topic_filter
from services.sensor.live import LiveSensor
from services.sensor.settings import SensorSettings
from services.sensor.source import open_source

log = logging.getLogger(__name__)

COMPLAIN_S: Final = 10.0


class Sensor(Protocol):
    """What publishes: a recording's rows, or live readings."""

    async def run(self) -> None: ...

    def hear(self, topic: Topic, status: Status, *, retained: bool) -> None:
        """A status of this node's services or of the server came."""


async def run(settings: SensorSettings, stop: asyncio.Event) -> None:
    bus = connection(settings)
    make = await (_recorded if settings.source == ("recorded",) else _live)(settings, bus)
    async with bus, Publisher(bus, settings, "sensor", hand_over_first=False) as publisher:
        sensor = make(publisher)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen(bus, publisher, sensor), name="sensor.listen")
            running = tasks.create_task(sensor.run(), name="sensor.run")
            await stop.wait()
            running.cancel()
            listening.cancel()


async def _recorded(settings: SensorSettings, bus: Bus) -> Callable[[Publisher], Sensor]:
    # imported here, because a Pi that measures needs no pyarrow
    from services.sensor.recorded import open_recording
    from services.sensor.replay import RecordedSensor

    assert settings.replay is not None  # held by the settings
    recording = await asyncio.to_thread(open_recording, settings.replay, settings.map)
    return lambda publisher: RecordedSensor(settings, recording, bus, publisher)


async def _live(settings: SensorSettings, bus: Bus) -> Callable[[Publisher], Sensor]:
    sources = [open_source(name, file, settings) for name, file in settings.live_sources]
    told = None if settings.clock == "auto" else settings.clock
    return lambda publisher: LiveSensor(settings.node, sources, bus, publisher, told=told)


def connection(settings: BusSettings) -> Bus:
    node = settings.node
    return Bus(
        settings,
        service="sensor",
        subscribe=[
            topic_filter(node, "+", "command", "sensor"),
            topic_filter(node, NODE_DEVICE, "status", "+"),
            topic_filter(CLOUD_NODE, CLOUD_NODE, "status", "ingest"),
            topic_filter(node, "+", "event", "+"),
        ],
    )


async def listen(bus: Bus, publisher: Publisher, sensor: Sensor) -> None:
    """Answer what is asked of the journal; pass on who lives. What cannot be read is counted."""
    complained = float("-inf")
    async for message in bus.messages():
        try:
            topic = Topic.parse(message.topic)
            await _take(topic, read(topic, message.payload), publisher, sensor, retained=message.retained)
        except PayloadError as error:
            bus.counters.add("rejected")
            if time.monotonic() - complained > COMPLAIN_S:
                complained = time.monotonic()
                log.warning("rejected (%d so far): %s", bus.counters["rejected"], error)
        message.ack()


async def _take(topic: Topic, content: Model, publisher: Publisher, sensor: Sensor, *, retained: bool) -> None:
    if isinstance(content, Fetch):
        await publisher.handle(topic, content)
    elif isinstance(content, Status):
        sensor.hear(topic, content, retained=retained)
    elif isinstance(content, Event) and content.type in ("raised", "escalated"):
        # what led to an alarm must outlive the power cut that may follow it
        await publisher.outbox.commit(durable=True)
