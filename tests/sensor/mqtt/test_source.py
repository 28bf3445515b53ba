"""The source on real brokers."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from services.bus.errors import ConfigError
from services.bus.settings import BusSettings
from services.sensor.mqtt.source import MqttSource, open_source
from services.sensor.source import Reading
from tests.fixtures_mosquitto import Broker
from tests.sensor.mqtt.test_mapping import INFO


def source_of(tmp_path: Path, text: str) -> MqttSource:
    path = tmp_path / "mqtt.yaml"
    path.write_text(text)
    return open_source(path, BusSettings(data_dir=tmp_path, node="pi"))


def emulator(port: int) -> str:
    return f"""
brokers: {{home: {{host: 127.0.0.1, port: {port}}}}}
devices: {{pack-1: {{broker: home, map: battery-emulator, values: {{name: BE}}}}}}
"""


async def take(source: MqttSource, count: int, do: Any) -> list[Reading]:
    """`count` readings; `do` publishes, in a thread, and again until they have come."""
    found: list[Reading] = []
    async with aclosing(cast(Any, source.readings())) as readings:

        async def collect() -> None:
            async for reading in readings:
                found.append(reading)
                if len(found) == count:
                    return

        collecting = asyncio.create_task(collect())
        async with asyncio.timeout(20):
            while not collecting.done():
                await asyncio.to_thread(do)
                await asyncio.wait((collecting,), timeout=0.3)
        await collecting
    return found


async def test_readings_of_a_battery_emulator(broker: Broker, tmp_path: Path) -> None:
    source = source_of(tmp_path, emulator(broker.port))
    with broker.client() as client:
        (reading,) = await take(source, 1, lambda: client.publish("BE/info", orjson.dumps(INFO)))
    assert (reading.device, reading.channels["voltage"], reading.faults) == ("pack-1", 355.2, {})


async def test_what_was_said_before_we_came_is_no_reading(broker: Broker, tmp_path: Path) -> None:
    source = source_of(tmp_path, emulator(broker.port))
    with broker.client() as client:
        client.publish("BE/info", orjson.dumps(INFO | {"battery_voltage": 1.0}), retain=True)
        (reading,) = await take(source, 1, lambda: client.publish("BE/info", orjson.dumps(INFO)))
    assert reading.channels["voltage"] == 355.2
    assert source.retained_ignored == 1


async def test_a_gx_device_is_kept_talking(broker: Broker, tmp_path: Path) -> None:
    text = f"""
brokers: {{gx: {{host: 127.0.0.1, port: {broker.port}}}}}
devices: {{pack-1: {{broker: gx, map: venus-serialbattery, values: {{portal: p1, instance: 1}}, cells: 2}}}}
"""
    source = source_of(tmp_path, text)
    with broker.client() as client:
        client.subscribe("R/#")

        def answer() -> None:
            for message in client.messages:
                if message.topic.startswith("R/p1/battery/"):
                    client.publish(message.topic.replace("R/", "N/", 1), b'{"value": 3.3}')

        readings = await take(source, 4, answer)
        asked = {m.topic: m.payload for m in client.messages}
    assert asked["R/p1/keepalive"] == b'{"keepalive-options": ["suppress-republish"]}'
    assert {"R/p1/battery/1/Voltages/Cell1", "R/p1/battery/1/Voltages/Cell2", "R/p1/battery/1/Soc"} <= set(asked)
    assert all(value in (3.3, 0.033) for reading in readings for value in reading.channels.values())


async def test_a_broker_that_went_away_and_came_back(broker: Broker, tmp_path: Path) -> None:
    source = source_of(tmp_path, emulator(broker.port))
    with broker.client() as client:
        await take(source, 1, lambda: client.publish("BE/info", orjson.dumps(INFO)))
    broker.restart()
    with broker.client() as client:
        assert await take(source, 1, lambda: client.publish("BE/info", orjson.dumps(INFO)))


def test_a_device_that_does_not_fit_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt.yaml: devices.pack-1: values: missing name"):
        source_of(tmp_path, emulator(1).replace("values: {name: BE}", "values: {}"))
