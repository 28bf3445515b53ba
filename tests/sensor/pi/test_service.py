"""The whole of it: the service as a process with probes and no I2C bus, and rows on a broker while wires come loose."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from services.alert.missing import silence_limit
from services.bus.client import Bus
from services.bus.messages import Layout, Sample, read_as
from services.bus.publisher import Publisher
from services.bus.settings import ROOT, BusSettings
from services.bus.topics import Topic
from services.sensor.live import LiveSensor
from tests.fixtures_mosquitto import Broker
from tests.mqtt import Client
from tests.sensor.pi.bench import PROBES, Bench, wiring

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
PERIOD_S = 0.2


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    written = wiring()
    written["devices"]["pack-1"]["period_s"] = PERIOD_S
    return Bench(tmp_path, written)


class Rows:
    """What came on the stream."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def all(self) -> list[Sample]:
        messages = [m for m in self._client._messages if m.topic == str(STREAM)]
        return [read_as(STREAM, bytes(m.payload), Sample) for m in messages]

    async def until(self, condition: Callable[[Sample], bool]) -> Sample:
        """The first row from now on for which it holds."""
        seen = len(self.all)

        def found() -> list[Sample]:
            return [row for row in self.all[seen:] if condition(row)]

        await asyncio.to_thread(self._client._wait, lambda: bool(found()), 20.0, "row")
        return found()[0]


async def test_rows_keep_their_rate_and_show_each_fault_in_time(broker: Broker, bench: Bench, tmp_path: Path) -> None:
    settings = BusSettings(broker_port=broker.port, data_dir=tmp_path, node="pi", reconnect_max_s=0.2)
    with broker.client() as client:
        client.subscribe(str(STREAM), "emberwatch/v1/pi/pack-1/layout/battery")
        rows = Rows(client)
        async with (
            Bus(settings, service="sensor") as bus,
            Publisher(bus, settings, "sensor", hand_over_first=False) as publisher,
        ):
            sensor = LiveSensor("pi", [bench.source()], bus, publisher, told="ntp")
            running = asyncio.create_task(sensor.run())
            good = await rows.until(lambda row: not row.quality)
            assert good.channels["voltage"] == pytest.approx(11.0, abs=0.01)
            assert good.channels["temperatures"] == [21.5, 20.25]
            assert good.channels["temperature_max"] == 21.5
            assert good.channels["cell_spread"] == pytest.approx(0.15, abs=0.002)

            bench.bus.unplug(0x48)
            bench.w1.pull(PROBES["top"])
            bench.bus.unplug(0x41)
            before = rows.all[-1]
            faulty = await rows.until(
                lambda row: (
                    {row.quality.get(c) for c in ("voltage", "current", "temperatures[0]")}
                    == {"fault:no_answer", "fault:gone"}
                )
            )
            assert faulty.mono - before.mono < silence_limit(PERIOD_S)
            assert faulty.channels["voltage"] is None
            assert faulty.channels["temperatures"] == [None, 20.25]
            assert faulty.channels["temperature_max"] == 20.25
            assert faulty.channels["cell_voltages"] == pytest.approx([1.3, 1.15, 1.2], abs=0.002)

            bench.w1.hang(PROBES["bottom"])  # says nothing more: what it said last is no reading for long
            before = rows.all[-1]
            stale = await rows.until(lambda row: row.quality.get("temperatures[1]") == "fault:stale")
            assert stale.mono - before.mono < silence_limit(PERIOD_S)

            bench.bus.plug(0x48)
            bench.bus.plug(0x41)
            bench.w1.release(PROBES["bottom"])
            for name, celsius in (("top", 23.0), ("bottom", 20.25)):
                bench.w1.measure(PROBES[name], celsius)
            healed = await rows.until(lambda row: not row.quality)
            assert healed.channels["temperatures"] == [23.0, 20.25]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        steps = [b.mono - a.mono for a, b in pairwise(rows.all)]
        assert median(steps) == pytest.approx(PERIOD_S, rel=0.1)
        assert {row.time_source for row in rows.all} == {"ntp"}


def test_the_process_measures_what_there_is_and_ends_cleanly(broker: Broker, bench: Bench, tmp_path: Path) -> None:
    """Here is no I2C bus: its channels are faults, and the probes are read all the same."""
    own = {
        "NODE": "pi",
        "BROKER_PORT": str(broker.port),
        "DATA_DIR": str(tmp_path / "data"),
        "SOURCE": "pi",
        "PI": str(bench.path),
        "CLOCK": "ntp",
    }
    written = wiring(i2c={"bus": 250})
    bench.write(written)
    with broker.client() as client:
        client.subscribe(str(STREAM), "emberwatch/v1/pi/pack-1/layout/battery")
        environment = os.environ | {f"EMBERWATCH_{name}": value for name, value in own.items()}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "services.sensor"], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )
        try:
            found: list[dict[str, Any]] = []

            def measured() -> bool:
                found[:] = [json.loads(m.payload) for m in client._messages if m.topic == str(STREAM)]
                return any(row["channels"]["temperatures"] == [21.5, 20.25] for row in found)

            client._wait(measured, 30.0, "temperatures")
            row = next(row for row in found if row["channels"]["temperatures"] == [21.5, 20.25])
            assert row["quality"]["voltage"] == row["quality"]["cell_voltages"] == "fault:no_bus"
            layout = next(m for m in client.messages if m.topic.endswith("layout/battery"))
            assert read_as(STREAM, bytes(layout.payload), Layout).hash == row["layout"]
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            _, said = process.communicate()
    assert said.decode().count("I2C bus 250: no_bus") == 1


def test_a_wrong_map_ends_the_process_with_one_line_and_code_2(bench: Bench, tmp_path: Path) -> None:
    written = wiring()
    written["chips"]["adc-1"]["address"] = 0x20
    bench.write(written)
    environment = os.environ | {
        "EMBERWATCH_SOURCE": "pi",
        "EMBERWATCH_PI": str(bench.path),
        "EMBERWATCH_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.sensor"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"sensor: {bench.path}: chips.adc-1.ads1115.address: ")
    assert len(done.stderr.splitlines()) == 1
