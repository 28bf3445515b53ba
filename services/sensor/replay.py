"""A recording as telemetry. When a row is due and how far ahead it may run is decided in pacing.py."""

import asyncio
import logging
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.bus.client import Bus
from services.bus.messages import Replay, Status, format_time, write
from services.bus.publisher import Publisher
from services.bus.topics import CLOUD_NODE, Topic
from services.sensor.pacing import Pacer, Schedule
from services.sensor.readings import Chunk
from services.sensor.recorded import Recording
from services.sensor.settings import SensorSettings

log = logging.getLogger(__name__)

READERS = frozenset({"alert", "inference"})
SEAM_S = 2.0  # between two replays: a short recording at full speed shall not spin; less than any silence
REPLAYS = "replays"  # remembered: how often each recording was replayed to its end and begun again


class RecordedSensor:
    """Replays one recording, once or again and again; a restart goes on where the journal ends, under the same boot."""

    def __init__(self, settings: SensorSettings, recording: Recording, bus: Bus, publisher: Publisher) -> None:
        self._settings, self._recording, self._bus, self._publisher = settings, recording, bus, publisher
        self._topic = Topic(settings.node, settings.device, "telemetry", recording.profile.name)
        self._pacer, self._moved = Pacer(), asyncio.Event()
        self._sessions: dict[str, str] = {}  # of the readers
        self._begun = asyncio.Event()  # a reader has (again)
        self._identity, self._number = "", 0
        publisher.on_confirm = self._confirmed

    async def run(self) -> None:
        """Until it is cancelled: also a replay that is over has readers that begin anew."""
        await self._resume()
        await self._publish_layout()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_layout(), name="sensor.layout")
            await self._replay()

    async def _publish_layout(self) -> None:
        layout = Topic(self._topic.node, self._topic.device, "layout", self._topic.name)
        await self._bus.publish(layout, write(self._recording.layout), retain=True)

    async def _keep_layout(self) -> None:
        """A broker that was killed has lost what it retained, and a reader that begins then has nothing to go by."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            await self._publish_layout()

    async def _replay(self) -> None:
        recording, topic = self._recording, self._topic
        speed = math.inf if self._settings.speed == "max" else float(self._settings.speed)
        while True:
            first = self._publisher.next_seq(topic)
            self._report(first, finished=False)
            log.info("replaying %s (replay %d): rows %d to %d as %s", *self._name(), first, recording.rows, topic)
            schedule = Schedule(speed, recording.layout.period_s)
            for chunk in recording.chunks(first):
                await self._publish(chunk, schedule)
            await self._publisher.close_boots()
            log.info("replayed %s (replay %d): %d rows", *self._name(), recording.rows)
            if not self._settings.repeat:
                break
            await asyncio.sleep(SEAM_S)
            self._begin_again()
        self._report(recording.rows, finished=True)

    def _name(self) -> tuple[Path, int]:
        return self._recording.path, self._number + 1

    async def _resume(self) -> None:
        """A replay's boot is the recording's own: a row has one identity for ever, even if the journal is lost."""
        self._identity = await asyncio.to_thread(self._recording.identity, self._topic.node, self._topic.device)
        self._number = (self._publisher.recall(REPLAYS) or {}).get(self._identity, 0)
        self._use_boot()
        while self._settings.repeat and self._publisher.next_seq(self._topic) >= self._recording.rows:
            self._begin_again()

    def _begin_again(self) -> None:
        self._number += 1
        known = self._publisher.recall(REPLAYS) or {}
        self._publisher.remember(REPLAYS, known | {self._identity: self._number})
        self._use_boot()
        self._pacer.begin_again()

    def _use_boot(self) -> None:
        self._publisher.use_boot(self._recording.identity(self._topic.node, self._topic.device, number=self._number))

    async def _publish(self, chunk: Chunk, schedule: Schedule) -> None:
        source, layout = self._recording.map.time_source, self._recording.layout.hash
        reported = time.monotonic()
        for i, (channels, quality) in enumerate(chunk.rows):
            now = time.monotonic()
            wait = schedule.due(chunk.mono[i], now) - now
            if wait > 0:
                await asyncio.sleep(wait)
            await self._hold_back(chunk.first + i)
            fields: dict[str, Any] = {
                "ts": format_time(datetime.fromtimestamp(chunk.times[i], UTC)),
                "mono": round(chunk.mono[i], 3),
                "time_source": source,
                "layout": layout,
                "channels": channels,
            }
            if quality:
                fields["quality"] = quality
                self._bus.counters.add("marked")
            fields["sent"] = round(time.monotonic(), 6)
            await self._publisher.publish(self._topic, fields)
            if i % 50 == 49:
                await asyncio.sleep(0)  # at full speed: let what comes in be read
            if now - reported > 1.0:
                reported = now
                self._report(chunk.first + i + 1, finished=False)

    async def _hold_back(self, seq: int) -> None:
        while not self._pacer.may_publish(seq, time.monotonic()):
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), 1.0)
            except TimeoutError:
                self._bus.counters.add("held_back_s")

    def _report(self, published: int, *, finished: bool) -> None:
        self._bus.replay = Replay(
            file=self._recording.path.name, rows=self._recording.rows, published=published, finished=finished
        )
        self._bus.beat()

    def _confirmed(self) -> None:
        confirmed = self._publisher.confirmed.get((str(self._topic), self._publisher.boot))
        self._pacer.heard(CLOUD_NODE, confirmed.highest if confirmed else None, time.monotonic())
        self._moved.set()

    def hear(self, topic: Topic, status: Status, *, retained: bool) -> None:
        """A reader's status came: it may have made room."""
        if topic.node == CLOUD_NODE:
            self._pacer.heard(CLOUD_NODE, None, time.monotonic(), online=status.state == "online")
        elif topic.name in READERS:
            at = status.positions.get(f"{self._topic.node}/{self._topic.device}/{self._topic.stream}")
            position = at.seq if at is not None and at.boot == self._publisher.boot else None
            self._pacer.heard(topic.name, position, time.monotonic(), online=status.state == "online")
            if status.state == "online" and self._sessions.get(topic.name) != status.session:
                self._sessions[topic.name] = status.session
                self._begun.set()
        self._moved.set()
