"""The whole of it: the sensor service as a process, a pack over Bluetooth, rows on a broker."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("aiobmsble", reason="aiobmsble needs Python 3.12 or later")

from services.bus.messages import Sample, read_as
from services.bus.settings import ROOT
from services.bus.topics import Topic
from tests.fixtures_mosquitto import Broker
from tests.mqtt import Client
from tests.sensor.bms.peripherals import Jbd
from tests.sensor.bms.played_bluez import PlayedBluez

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
PACK = "packs: {pack-1: {address: 'A4:C1:38:00:00:01', make: auto, cells: 4, probes: 2, period_s: 0.5}}"


async def until(client: Client, condition: Callable[[Sample], bool]) -> Sample:
    """The first row from now on for which it holds."""
    seen = len(client.messages)

    def found() -> list[Sample]:
        rows = [read_as(STREAM, bytes(m.payload), Sample) for m in client.messages[seen:] if m.topic == str(STREAM)]
        return [row for row in rows if condition(row)]

    await asyncio.to_thread(client._wait, lambda: bool(found()), 60.0, "row")
    return found()[0]


async def test_rows_of_a_pack_that_leaves_and_comes_back(dbus: str, broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "bms.yaml").write_text(PACK)
    environment = os.environ | {
        "DBUS_SYSTEM_BUS_ADDRESS": dbus,
        "EMBERWATCH_SOURCE": "bms",
        "EMBERWATCH_BMS": str(tmp_path / "bms.yaml"),
        "EMBERWATCH_NODE": "pi",
        "EMBERWATCH_BROKER_PORT": str(broker.port),
        "EMBERWATCH_DATA_DIR": str(tmp_path / "data"),
    }
    pack = Jbd("A4:C1:38:00:00:01", "JBD-SP04S020")
    command = [sys.executable, "-m", "services.sensor"]
    with broker.client() as client:
        client.subscribe(str(STREAM))
        async with PlayedBluez(dbus, pack) as bluez:
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
            try:
                row = await until(client, lambda row: not row.quality)
                assert row.channels["cell_voltage_min"] == 3.301
                assert row.channels["cell_spread"] == pytest.approx(0.003)
                assert row.channels["temperature_max"] == pytest.approx(22.0)
                bluez.leave(pack)
                row = await until(client, lambda row: row.quality.get("voltage") == "fault:disconnected")
                assert row.channels["voltage"] is None
                assert row.channels["cell_voltages"] == [None] * 4
                assert row.quality["temperatures"] == "fault:disconnected"
                bluez.in_range.append(pack)
                await until(client, lambda row: not row.quality)
            finally:
                process.terminate()
                async with asyncio.timeout(30):
                    code = await process.wait()
            assert code == 0
            assert not bluez.device(pack).connected
