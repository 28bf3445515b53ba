"""The computer as a device: over a real broker up to the alarm, and the request to switch off."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.alert.engine import Engine, Now
from services.alert.rules import load_rules
from services.bus.client import Bus
from services.bus.messages import Layout, Sample, read_as
from services.bus.publisher import Publisher
from services.bus.settings import ROOT, BusSettings
from services.bus.topics import Topic
from services.sensor.host.machine import Machine
from services.sensor.host.outage import Outage
from services.sensor.host.source import HostSource, open_source
from services.sensor.host.ups import Said
from services.sensor.live import LiveSensor
from services.sensor.settings import SensorSettings
from services.sensor.source import Reading
from tests.fixtures_mosquitto import Broker
from tests.sensor.host.computer import UNDER_VOLTAGE, computer

STREAM = Topic("pi", "node", "telemetry", "host")


class Told:
    """A UPS that says what the test says."""

    def __init__(self) -> None:
        self.said: Said | OSError = Said(False)
        self.closed = 0

    def ask(self) -> Said:
        if isinstance(self.said, OSError):
            raise self.said
        return self.said

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pi(tmp_path: Path) -> Machine:
    root = computer(tmp_path)
    return Machine(root, root / "sys", root / "proc")


async def reading(source: HostSource) -> Reading:
    stream: AsyncIterator[Reading] = source.readings()
    async with asyncio.timeout(10):
        return await anext(stream)


async def test_the_power_is_a_channel_and_a_ups_that_is_silent_a_fault(pi: Machine) -> None:
    ups = Told()
    source = HostSource(pi, ups)
    assert set(source.devices["node"].channels) == {*pi.channels, "power_lost"}
    assert (await reading(source)).channels["power_lost"] == 0.0
    ups.said = Said(True)
    assert (await reading(source)).channels["power_lost"] == 1.0
    ups.said = OSError("gone")
    found = await reading(source)
    assert found.faults == {"power_lost": "ups"}
    assert "power_lost" not in found.channels
    assert ups.closed == 1  # and opened anew
    await source.close()


async def test_switching_off_is_asked_for_once_and_in_time(
    pi: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ups, request = Told(), tmp_path / "power-off"
    source = HostSource(pi, ups, Outage(0.2), request)
    await reading(source)
    ups.said = Said(True)
    await reading(source)
    assert not request.exists()
    with caplog.at_level(logging.INFO):
        deadline = time.monotonic() + 10
        while not request.exists() and time.monotonic() < deadline:
            await reading(source)
        await reading(source)
    assert request.exists()
    assert caplog.text.count("switching off") == 1


async def test_without_the_folder_it_says_that_nobody_switches_off(
    pi: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ups = Told()
    ups.said = Said(True)
    source = HostSource(pi, ups, Outage(0.0), tmp_path / "none" / "power-off")
    assert (await reading(source)).channels["power_lost"] == 1.0
    assert "nobody switches this computer off" in caplog.text


async def test_a_node_publishes_its_computer_and_the_rules_judge_it(
    broker: Broker, tmp_path: Path, pi: Machine
) -> None:
    ups = Told()
    settings = BusSettings(broker_port=broker.port, data_dir=tmp_path / "data", node="pi")
    source = HostSource(pi, ups, period_s=0.1)
    engine = Engine("pi", load_rules([ROOT / "rules" / "host.yaml", ROOT / "rules" / "node.yaml"]), 0.0)
    raised: list[str] = []
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/node/#")
        async with (
            Bus(settings, service="sensor") as bus,
            Publisher(bus, settings, "sensor", hand_over_first=False) as publisher,
        ):
            task = asyncio.create_task(LiveSensor("pi", [source], bus, publisher, told="ntp").run())
            seen, deadline = 0, time.monotonic() + 20
            while "power_lost" not in raised and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                messages = [m for m in client._messages if m.topic in (str(STREAM), str(STREAM.of_stream("layout")))]
                for message in messages[seen:]:
                    topic = Topic.parse(message.topic)
                    model = Sample if topic.kind == "telemetry" else Layout
                    read = read_as(topic, bytes(message.payload), model)
                    now = Now(time.monotonic(), time.time())
                    raised += [c.rule for c in engine.take(topic, read, now) if c.type == "raised"]
                seen = len(messages)
                if seen > 5:
                    (tmp_path / UNDER_VOLTAGE).write_text("1\n")
                    ups.said = Said(True)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert raised == ["under_voltage", "power_lost"]  # at once; after two seconds


def test_every_node_has_it_by_a_setting(tmp_path: Path) -> None:
    settings = SensorSettings(source="simulated", host=True, data_dir=tmp_path)
    assert settings.live_sources == (("simulated", None), ("host", None))
    assert list(open_source(None, settings).devices) == ["node"]
    told = settings.model_validate(settings.model_dump() | {"ups": {"kind": "nut", "name": "pi"}})
    assert "power_lost" in open_source(None, told).devices["node"].channels


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "recorded", "replay": "x.parquet", "host": True}, "a recording is replayed alone"),
        ({"source": "simulated", "ups": {"kind": "nut", "name": "pi"}}, "needs `host: true`"),
        ({"source": "simulated", "host": True, "ups": {"kind": "gpio", "line": 99}}, "less than or equal to 53"),
        ({"source": "simulated", "host": True, "ups": {"kind": "nut", "name": "a b"}}, "pattern"),
    ],
)
def test_a_wrong_setting_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SensorSettings.model_validate(fields)
