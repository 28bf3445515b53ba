"""Live sources over a real broker: rows at their rate whatever fails, and times that are dated once they are known."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from services.bus import client as client_module
from services.bus.client import Bus
from services.bus.errors import ConfigError
from services.bus.messages import Journal, Layout, Sample, Status, TimeSource, read_as
from services.bus.publisher import Publisher
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from services.sensor import live
from services.sensor.live import LiveSensor
from services.sensor.resting import Rest
from services.sensor.source import Device, Reading
from tests.fixtures_mosquitto import Broker
from tests.mqtt import Client

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
SERVER = Topic("cloud", "cloud", "status", "ingest")


class Scripted:
    """A source that reads what the test hands in."""

    def __init__(self, **devices: Device) -> None:
        self.devices = {name.replace("_", "-"): device for name, device in devices.items()}
        self.queue: asyncio.Queue[Reading | Exception] = asyncio.Queue()
        self.begun, self.closed = 0, False

    async def readings(self) -> AsyncIterator[Reading]:
        self.begun += 1
        while True:
            given = await self.queue.get()
            if isinstance(given, Exception):
                raise given
            yield given

    async def close(self) -> None:
        self.closed = True

    def say(self, device: str, /, faults: dict[str, str] | None = None, **channels: Any) -> None:
        self.queue.put_nowait(Reading(device, time.monotonic(), channels, faults or {}))


def pack(period_s: float = 0.2, **more: Any) -> Device:
    return Device("battery", {"voltage": None, "temperatures": 2}, period_s, start_s=period_s, **more)


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return BusSettings(broker_port=broker.port, data_dir=tmp_path, node="pi", reconnect_max_s=0.2)


@asynccontextmanager
async def running(
    settings: BusSettings, *sources: Scripted, told: TimeSource | None = "ntp"
) -> AsyncIterator[tuple[LiveSensor, Publisher, Bus]]:
    async with (
        Bus(settings, service="sensor") as bus,
        Publisher(bus, settings, "sensor", hand_over_first=False) as publisher,
    ):
        async with asyncio.timeout(20):
            await bus.wait_connected()
        sensor = LiveSensor(settings.node, sources, bus, publisher, told=told)
        task = asyncio.create_task(sensor.run())
        yield sensor, publisher, bus
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled(), task
    assert all(source.closed for source in sources)


def samples(client: Client, stream: Topic = STREAM) -> list[Sample]:
    return [read_as(stream, bytes(m.payload), Sample) for m in client._messages if m.topic == str(stream)]


async def until(client: Client, condition: Callable[[], Any]) -> Any:
    given: list[Any] = []

    def holds() -> bool:
        given[:] = [condition()]
        return bool(given[0])

    await asyncio.to_thread(client._wait, holds, 20.0, "condition")
    return given[0]


@pytest.fixture
def listener(broker: Broker) -> Any:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        yield client


async def test_parts_become_a_row_each_period_and_what_stopped_is_a_fault(
    settings: BusSettings, listener: Client
) -> None:
    source = Scripted(pack_1=pack())
    async with running(settings, source):
        source.say("pack-1", voltage=11.1)
        source.queue.put_nowait(Reading("pack-1", time.monotonic(), {"temperatures[0]": 21.0}))
        await until(listener, lambda: len(samples(listener)) >= 5)
    first, *_, last = samples(listener)[:5]
    assert (first.channels["voltage"], first.channels["temperatures"]) == (11.1, [21.0, None])
    assert (first.quality["temperatures[1]"], first.time_source) == ("fault:no_reading", "ntp")
    assert last.quality["voltage"] == "fault:stale"
    steps = [b.mono - a.mono for a, b in pairwise(samples(listener))]
    assert median(steps) == pytest.approx(0.2, abs=0.05)
    layout = next(m for m in listener.messages if m.topic == "emberwatch/v1/pi/pack-1/layout/battery")
    assert read_as(STREAM, bytes(layout.payload), Layout).hash == first.layout


async def test_a_whole_reading_is_published_as_it_comes_and_no_other_row_beside_it(
    settings: BusSettings, listener: Client
) -> None:
    source = Scripted(pack_1=pack(30.0))
    async with running(settings, source):
        for n in range(20):
            source.say("pack-1", voltage=float(n), temperatures=[21.0, 22.0])
        got = await until(listener, lambda: samples(listener) if len(samples(listener)) >= 20 else None)
    assert [s.channels["voltage"] for s in got] == [float(n) for n in range(20)]
    assert all(not s.quality for s in got)


async def test_a_source_that_fails_is_begun_again_and_delays_no_other(
    settings: BusSettings, listener: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", (0.05, 0.1))
    bad, good = Scripted(pack_1=pack()), Scripted(pack_2=pack(30.0))
    other = Topic("pi", "pack-2", "telemetry", "battery")
    async with running(settings, bad, good) as (_, _, bus):
        bad.queue.put_nowait(RuntimeError("driver"))
        bad.say("pack-9", voltage=1.0)  # no device of its
        bad.say("pack-1", humidity=1.0, voltage=5.0)
        for n in range(5):
            good.say("pack-2", voltage=float(n), temperatures=[1.0, 2.0])
        await until(listener, lambda: len(samples(listener, other)) >= 5)
        await until(listener, lambda: any(s.channels["voltage"] == 5.0 for s in samples(listener)))
        assert bad.begun >= 2
        assert (bus.counters["source_failed"], bus.counters["strange_readings"]) == (1, 2)
    assert [s.channels["voltage"] for s in samples(listener, other)] == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_a_reading_that_comes_late_or_from_another_clock_turns_no_time_back(
    settings: BusSettings, listener: Client
) -> None:
    source = Scripted(pack_1=pack())
    async with running(settings, source) as (_, _, bus):
        for late in (0.0, 0.4, -1e9, 0.0, math.nan, 0.0):
            read: dict[str, Any] = {"voltage": 1.0, "temperatures": [1.0, 2.0]}
            source.queue.put_nowait(Reading("pack-1", time.monotonic() - late, read))
            await asyncio.sleep(0.01)
        await until(listener, lambda: len(samples(listener)) >= 12)
        assert bus.counters["strange_readings"] == 2
    monos = [s.mono for s in samples(listener)]
    assert monos == sorted(monos)
    assert monos[-1] < 60.0


async def test_a_device_that_turns_out_to_have_more_is_announced_anew(settings: BusSettings, listener: Client) -> None:
    source = Scripted(pack_1=Device("battery", {"voltage": None}, 30.0))
    async with running(settings, source):
        source.say("pack-1", voltage=11.1)
        await until(listener, lambda: samples(listener))
        source.devices["pack-1"] = Device("battery", {"voltage": None, "cell_voltages": 2}, 30.0)
        source.say("pack-1", voltage=11.1, cell_voltages=[3.7, 3.8])
        await until(listener, lambda: len(samples(listener)) == 2)
    layouts = [m for m in listener.messages if m.topic.endswith("layout/battery")]
    hashes = [read_as(STREAM, bytes(m.payload), Layout).hash for m in layouts]
    assert [s.layout for s in samples(listener)] == hashes
    assert samples(listener)[1].channels["cell_spread"] == 0.1


async def test_a_broker_that_is_away_holds_up_no_row(
    broker: Broker, settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "UNACKNOWLEDGED_MAX", 5)
    source = Scripted(pack_1=pack(30.0))
    async with running(settings, source) as (_, publisher, bus):
        broker.kill()
        for n in range(50):
            source.say("pack-1", voltage=float(n), temperatures=[1.0, 2.0])
        async with asyncio.timeout(20):
            while publisher.next_seq(STREAM) < 50:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert len(await publisher.outbox.read(str(STREAM), publisher.boot, [(0, 99)], 99)) == 50
        assert bus.counters["deferred"] >= 40


def held(client: Client) -> list[Journal]:
    topic = STREAM.of_stream("journal")
    return [read_as(topic, bytes(m.payload), Journal) for m in client._messages if m.topic == str(topic)]


class System:
    """The computer's clock as the test sets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source: TimeSource = "none"
        monkeypatch.setattr(live, "CLOCK_S", 0.02)
        monkeypatch.setattr(live, "time_source", lambda: self.source)


async def test_a_pi_without_a_clock_publishes_untimed_and_dates_once(
    settings: BusSettings, listener: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, source = System(monkeypatch), Scripted(pack_1=pack(30.0))
    async with running(settings, source, told=None) as (_, publisher, bus):
        for n in range(10):
            source.say("pack-1", voltage=float(n), temperatures=[1.0, 2.0])
        await until(listener, lambda: len(samples(listener)) == 10)
        await publisher.announce()
        await until(listener, lambda: any(not r.timed for j in held(listener) for r in j.ranges))
        assert {s.time_source for s in samples(listener)} == {"none"}
        system.source = "ntp"
        await until(listener, lambda: held(listener) and all(r.timed for r in held(listener)[-1].ranges))
        source.say("pack-1", voltage=10.0, temperatures=[1.0, 2.0])
        await until(listener, lambda: len(samples(listener)) == 11)
        kept = await publisher.outbox.read(str(STREAM), publisher.boot, [(0, 99)], 99)
        dated = [read_as(STREAM, payload, Sample) for _, payload in kept]
        assert bus.counters["dated"] == 10
    assert {s.time_source for s in dated} == {"ntp"}
    offsets = [s.ts.timestamp() - s.mono for s in dated]
    assert max(offsets) - min(offsets) < 0.01
    assert abs(dated[-1].ts.timestamp() - time.time()) < 20


async def test_what_an_earlier_process_left_untimed_is_dated_by_the_next_one(
    settings: BusSettings, listener: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(monkeypatch)
    moments: tuple[TimeSource, ...] = ("none", "ntp")
    for source_of_time in moments:
        system.source = source_of_time
        source = Scripted(pack_1=pack(30.0))
        before = time.time()
        async with running(settings, source, told=None) as (_, publisher, _):
            source.say("pack-1", voltage=1.0, temperatures=[1.0, 2.0])
            if source_of_time == "none":
                first, said = publisher.boot, before
                await until(listener, lambda: samples(listener))
            else:
                await until(listener, lambda: held(listener)[-1:] and all(r.timed for r in held(listener)[-1].ranges))
                ((_, payload),) = await publisher.outbox.read(str(STREAM), first, [(0, 9)], 9)
    dated = read_as(STREAM, payload, Sample)
    assert dated.time_source == "ntp"
    assert said - 1 < dated.ts.timestamp() < said + 5


async def test_the_servers_heartbeat_sets_the_time_where_nothing_else_does(
    settings: BusSettings, listener: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    System(monkeypatch)
    monkeypatch.setattr("services.sensor.wall.APART_S", 0.05)
    source = Scripted(pack_1=pack(0.05))
    ahead = 86_400.0
    beat = Status(state="online", session="1", time_source="ntp")
    async with running(settings, source, told=None) as (sensor, _, bus):
        for n in range(4):
            now = time.time() + ahead
            ts = read_as(SERVER, f'{{"state":"online","session":"1","ts":{now}}}'.encode(), Status).ts
            sensor.hear(SERVER, beat.model_copy(update={"ts": ts}), retained=n == 0)
            await asyncio.sleep(0.06)
        sample = await until(listener, lambda: [s for s in samples(listener) if s.time_source == "peer"])
        assert bus.status().time_source == "peer"
    assert sample[0].ts.timestamp() - time.time() == pytest.approx(ahead, abs=10)


def test_two_sources_may_not_measure_devices_of_one_name(settings: BusSettings) -> None:
    def make(*sources: Scripted) -> Sequence[object]:
        bus = Bus(settings, service="sensor")
        return [LiveSensor("pi", sources, bus, Publisher(bus, settings, "sensor"))]

    with pytest.raises(ConfigError, match="two sources measure a device called 'pack-1'"):
        make(Scripted(pack_1=pack()), Scripted(pack_1=pack()))
    with pytest.raises(ConfigError, match="channel 'pressure' is not in profile battery"):
        make(Scripted(pack_1=Device("battery", {"pressure": None})))
    with pytest.raises(ConfigError, match=r"no-such\.yaml"):
        make(Scripted(pack_1=Device("no-such", {"pressure": None})))


class Slowed(Scripted):
    """One that can measure more seldom."""

    paces: list[float | None]

    def pace(self, device: str, period_s: float | None) -> None:
        self.paces = [*getattr(self, "paces", []), period_s]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_device_at_rest_speaks_seldom_and_within_a_period_of_a_load_again(
    settings: BusSettings, listener: Client, whole: bool
) -> None:
    """Ten readings a second come all the time; at rest a row comes each second, and says so."""
    rest = Rest.model_construct(period_s=1.0, after_s=1.0, ampere=0.1, volt=0.005, kelvin=0.5, celsius=45.0)
    device = Device("battery", {"voltage": None, "current": None}, 0.1, max_age_s=5.0, start_s=0.1, rest=rest)
    source, current = Slowed(pack_1=device), 0.0

    async def speak() -> None:
        while True:
            if whole:
                source.say("pack-1", voltage=11.1, current=current)
            else:
                source.say("pack-1", voltage=11.1)
                source.say("pack-1", current=current)
            await asyncio.sleep(0.1)

    async with running(settings, source):
        speaking = asyncio.create_task(speak())
        rested = await until(listener, lambda: (s := [x for x in samples(listener) if x.next_s]) and len(s) >= 4 and s)
        assert {s.next_s for s in rested} == {1.0}
        assert median(b.mono - a.mono for a, b in pairwise(rested[1:])) > 0.8
        current = -5.0
        loaded = await until(listener, lambda: [s for s in samples(listener) if s.channels["current"] == -5.0][:5])
        await until(listener, lambda: len([s for s in samples(listener) if s.channels["current"] == -5.0]) >= 5)
        speaking.cancel()
    found = samples(listener)
    first = next(i for i, s in enumerate(found) if s.channels["current"] == -5.0)
    assert loaded[0].seq == found[first].seq
    assert found[first].mono - found[first - 1].mono < 2.0  # the rest announced 1 s; a busy machine is late
    load = found[first : first + 5]
    assert all(s.next_s is None and not s.quality for s in load)
    assert median(b.mono - a.mono for a, b in pairwise(load)) < 0.5
    assert source.paces == [1.0, None]
    assert not any(s.quality for s in found)
