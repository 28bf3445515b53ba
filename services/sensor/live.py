"""What live sources give, as telemetry. Wires only: what a reading is worth is decided in rows.py and readings.py, what
time it is in wall.py, and that nothing is lost in services/bus/publisher.py.

No device, channel or source waits for another: a source only hands readings over, rows are published by the clock, and
what has not come in time is a fault in its row.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from services.bus.client import Bus
from services.bus.clock import time_source
from services.bus.errors import ConfigError, EmberwatchError, SessionTakenOverError
from services.bus.messages import Layout, Status, TimeSource, format_time, write
from services.bus.profiles import load_profile
from services.bus.publisher import Publisher
from services.bus.topics import CLOUD_NODE, Topic
from services.sensor.rows import Rows
from services.sensor.source import Device, Paced, Reading, Source
from services.sensor.wall import WallClock

log = logging.getLogger(__name__)

COMPLAIN_S: Final = 60.0
CLOCK_S: Final = 1.0  # between looks at the clock
LAYOUT_S: Final = 60.0  # a broker can lose what it retains
RETRY_S: Final = (1.0, 30.0)  # a source that ended or raised is asked again: first and longest pause
ORIGINS_KEPT: Final = 50
ORIGINS: Final = "clock"  # remembered: steady clock's origin of each boot since the machine started
MACHINE_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class _Published:
    """A device as it is published."""

    device: Device
    rows: Rows
    topic: Topic
    due: float  # mono of the next row, if no whole row comes before
    layout_due: float = 0.0
    last: float = -math.inf  # mono of the last row

    def next_due(self, mono: float) -> float:
        """The next point of the device's grid: multiples of its present period on the steady clock."""
        period = self.rows.due_s
        return (math.floor(mono / period) + 1) * period


class LiveSensor:
    """Publishes what sources read until it is cancelled.

    Args:
        told: what sets this computer's clock, if somebody says so; None = find out.
    Raises:
        ConfigError: two sources measure a device of the same name, or a device does not fit its profile.
        SessionTakenOverError: see Bus.
    """

    def __init__(
        self,
        node: str,
        sources: Sequence[Source],
        bus: Bus,
        publisher: Publisher,
        *,
        told: TimeSource | None = None,
        machine: Path = MACHINE_BOOT,
    ) -> None:
        self._node, self._sources, self._bus, self._publisher = node, sources, bus, publisher
        self._told, self._machine = told, machine
        self._origin = time.monotonic()
        self._wall = WallClock()
        self._published: dict[str, _Published] = {}
        self._owners: dict[str, Source] = {}
        self._changed = asyncio.Event()
        self._complained: dict[str, float] = {}
        for source in sources:
            for name in source.devices:
                self._adopt(name, source)

    async def run(self) -> None:
        self._look_at_clock()
        self._remember_origin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time(), name="sensor.clock")
            tasks.create_task(self._publish_due(), name="sensor.rows")
            for source in self._sources:
                tasks.create_task(self._read(source), name=f"sensor.{type(source).__name__}")

    # --- readings in ------------------------------------------------------------------------------------------------

    async def _read(self, source: Source) -> None:
        pause = RETRY_S[0]
        try:
            while True:
                begun = time.monotonic()
                try:
                    async with aclosing(cast(Any, source.readings())) as readings:
                        async for reading in readings:
                            await self._take(source, reading)
                    log.warning("%s: ended; beginning again", type(source).__name__)
                except SessionTakenOverError:
                    raise
                except Exception as error:
                    self._complain("source_failed", f"{type(source).__name__}: {error!r}", error)
                pause = RETRY_S[0] if time.monotonic() - begun > RETRY_S[1] else pause
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S[1])
        finally:
            await source.close()

    async def _take(self, source: Source, reading: Reading) -> None:
        """A reading that cannot be used is counted; the next one must have its chance."""
        now = time.monotonic()
        try:
            if not reading.mono <= now:  # a source with another clock would make all that follows old
                self._complain("strange_readings", f"{reading.device}: read at {reading.mono}, it is {now}", None)
                reading = replace(reading, mono=now)
            published = self._adopt(reading.device, source)
            whole, strange = published.rows.take(reading)
        except (ValueError, TypeError, LookupError, EmberwatchError) as error:
            self._complain("strange_readings", f"{reading.device}: {error}", None)
            return
        if strange:
            self._complain("strange_readings", f"{reading.device}: not in its layout: {', '.join(strange[:5])}", None)
        if published.rows.wakes(reading.mono):
            self._pace(published, source)
            published.due = published.next_due(now)
            self._changed.set()
        resting_s = published.rows.rest_s
        if whole and (resting_s is None or reading.mono - published.last >= resting_s - published.rows.period_s / 2):
            await self._publish(published, reading.mono)
            published.due = reading.mono + 2 * published.rows.due_s

    def _adopt(self, name: str, source: Source) -> _Published:
        """The device as it is published; made or remade when the source says something new of it."""
        device, known = source.devices[name], self._published.get(name)
        if known is not None and known.device is device:
            return known
        if self._owners.setdefault(name, source) is not source:
            raise ConfigError("sensor", "source", f"two sources measure a device called {name!r}")
        if known is not None and known.device == device:
            known.device = device
            return known
        try:
            rows = Rows(device, load_profile(device.profile))
            topic = Topic(self._node, name, "telemetry", device.profile)
        except ValueError as error:
            raise ConfigError("sensor", f"device {name}", str(error)) from None
        now = time.monotonic()
        made = _Published(device, rows, topic, now + rows.period_s if known else now + device.start_s)
        self._published[name] = made
        self._changed.set()
        log.info("%s: %s, every %g s", topic, ", ".join(c.name for c in rows.layout.channels), rows.period_s)
        return made

    # --- rows out ---------------------------------------------------------------------------------------------------

    async def _publish_due(self) -> None:
        while True:
            now = time.monotonic()
            self._changed.clear()
            for published in [p for p in self._published.values() if p.due <= now]:
                due = published.due = published.next_due(now)
                await self._publish(published, now)
                if published.due == due:  # else a reading has come meanwhile
                    published.due = published.next_due(now)  # it may rest now
            next_due = min((p.due for p in self._published.values()), default=now + CLOCK_S)
            try:
                async with asyncio.timeout(max(next_due - time.monotonic(), 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _publish(self, published: _Published, mono: float) -> None:
        try:
            await self._send(published, mono)
        except SessionTakenOverError:
            raise
        except Exception as error:  # the next row, and other devices', must have their chance
            self._complain("rows_failed", f"{published.topic}: {error!r}", error)

    async def _send(self, published: _Published, mono: float) -> None:
        layout = published.rows.layout
        mono = published.last = max(mono, published.last)  # a stream's clock never goes back: readers would drop it
        if mono >= published.layout_due and self._bus.has_room:
            published.layout_due = mono + LAYOUT_S
            await self._publish_layout(published.topic, layout)
        channels, quality = published.rows.row(mono)
        self._wall.look(time.monotonic(), time.time(), "none")
        fields: dict[str, Any] = {
            "ts": format_time(datetime.fromtimestamp(self._wall.at(mono), UTC)),
            "mono": round(mono - self._origin, 3),
            "time_source": self._wall.source,
            "layout": layout.hash,
            "channels": channels,
        }
        if quality:
            fields["quality"] = quality
            self._bus.counters.add("marked")
        before, next_s = published.rows.rest_s, published.rows.look(mono, quality)
        if next_s is not None:
            fields["next_s"] = next_s
        if next_s != before:
            self._pace(published, self._owners[published.topic.device])
        fields["sent"] = round(time.monotonic(), 6)
        await self._publisher.publish(published.topic, fields, wait=False, timed=self._wall.known)

    def _pace(self, published: _Published, source: Source) -> None:
        """The device has come to rest, or wakes: so often it is measured from now on."""
        name, rest_s = published.topic.device, published.rows.rest_s
        log.info("%s: %s", published.topic, "awake" if rest_s is None else f"at rest, every {rest_s:g} s")
        self._bus.counters.set("resting", sum(p.rows.rest_s is not None for p in self._published.values()))
        if isinstance(source, Paced):
            source.pace(name, rest_s)

    async def _publish_layout(self, topic: Topic, layout: Layout) -> None:
        await self._bus.publish(Topic(topic.node, topic.device, "layout", topic.name), write(layout), retain=True)

    # --- time -------------------------------------------------------------------------------------------------------

    def hear(self, topic: Topic, status: Status, *, retained: bool) -> None:
        """A status came: the server's heartbeat tells the time, if nothing else does."""
        if topic.node != CLOUD_NODE or retained or status.state != "online" or status.ts is None:
            return
        if status.time_source in ("ntp", "rtc"):
            self._wall.hear(time.monotonic(), status.ts.timestamp())

    def _look_at_clock(self) -> None:
        self._wall.look(time.monotonic(), time.time(), self._told or time_source())
        self._bus.told_time = self._wall.source

    async def _keep_time(self) -> None:
        undated = True
        while True:
            self._look_at_clock()
            if undated and self._wall.known:
                try:
                    await self._date()
                    undated = False
                except SessionTakenOverError:
                    raise
                except Exception as error:  # a disk that refuses: later
                    self._complain("dating_failed", f"dating untimed messages: {error!r}", error)
            await asyncio.sleep(CLOCK_S)

    def _remember_origin(self) -> None:
        """Where this boot's `mono` began on the machine's steady clock, for a process that learns the time later."""
        try:
            machine = self._machine.read_text().strip()
        except OSError:
            return
        known = self._publisher.recall(ORIGINS) or {}
        origins = known["origins"] if known.get("machine") == machine else {}
        kept = dict(list(origins.items())[-ORIGINS_KEPT:]) | {self._publisher.boot: self._origin}
        self._publisher.remember(ORIGINS, {"machine": machine, "origins": kept})

    async def _date(self) -> None:
        """Give the untimed messages of this process, and of those before it since the machine started, their time."""
        origins = {self._publisher.boot: self._origin} | (self._publisher.recall(ORIGINS) or {}).get("origins", {})
        for (stream, boot), held in (await self._publisher.outbox.index()).items():
            if held.timed or boot not in origins:
                continue
            offset = self._wall.offset + origins[boot]
            count = await self._publisher.date(Topic.parse(stream), boot, offset, self._wall.source)
            self._bus.counters.add("dated", count)
            log.info("%s: %d messages dated by %s", stream, count, self._wall.source)

    # --- trouble ----------------------------------------------------------------------------------------------------

    def _complain(self, counter: str, text: str, error: Exception | None) -> None:
        """Count it; say it once a minute."""
        self._bus.counters.add(counter)
        now = time.monotonic()
        if now - self._complained.get(counter, -math.inf) < COMPLAIN_S:
            return
        self._complained[counter] = now
        bug = error is not None and not isinstance(error, EmberwatchError)
        log.error("%s (%d so far)", text, self._bus.counters[counter], exc_info=error if bug else None)
