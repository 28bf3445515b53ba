"""A Pi without a Pi: a map in a file, chips and probes as models, and what the source reads of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from services.sensor.pi.map import load_map
from services.sensor.pi.source import PiSource
from services.sensor.source import Reading
from tests.hardware.board.ads1115 import Ads1115
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.ina219 import Ina219
from tests.hardware.board.ina226 import Ina226
from tests.hardware.board.masters import BlinkaI2C
from tests.hardware.board.w1_folder import W1Folder

PROBES = {"top": "28-0000012345ab", "bottom": "28-0000012345cd"}
PERIOD_S = 0.1


def wiring(**changed: Any) -> dict[str, Any]:
    """A pack of three cells with everything; `changed` replaces sections."""
    divider = {"top": "30k", "bottom": "10k"}
    return {
        "chips": {
            "adc-1": {"kind": "ads1115", "address": 0x48, "data_rate": 860},
            "adc-2": {"kind": "ads1115", "address": 0x49, "data_rate": 860},
            "meter": {"kind": "ina226", "address": 0x41, "shunt_ohm": "1m", "averages": 1},
        },
        "probes": {name: {"id": id_} for name, id_ in PROBES.items()},
        "devices": {
            "pack-1": {
                "period_s": PERIOD_S,
                "channels": {
                    "voltage": {"chip": "adc-1", "pin": 0, "divider": divider},
                    "current": {"chip": "meter", "measure": "current"},
                    "cell_voltages": [{"chip": "adc-2", "pins": pins} for pins in ([0, 1], [1, 3], [2, 3])],
                    "temperatures": [{"probe": "top"}, {"probe": "bottom"}],
                },
            }
        },
    } | changed


class Bench:
    """Args: folder: of this test."""

    def __init__(self, folder: Path, written: dict[str, Any] | None = None) -> None:
        self.adc_1, self.adc_2, self.meter = Ads1115(0x48), Ads1115(0x49), Ina226(0x41)
        self.meter_219 = Ina219(0x44)
        self.adc_1.ain = [2.75, None, None, None]
        self.adc_2.ain = [2.5, 1.2, 1.25, 0.05]
        self.meter.shunt_v = 0.005
        self.bus = I2cBus([self.adc_1, self.adc_2, self.meter, self.meter_219])
        self.w1 = W1Folder(folder / "devices")
        for name, celsius in (("top", 21.5), ("bottom", 20.25)):
            self.w1.measure(PROBES[name], celsius)
        self.path = folder / "pi.yaml"
        self.write(written or wiring())
        self.opened = 0
        self.no_bus: Exception | None = None

    def write(self, written: dict[str, Any]) -> None:
        content = {"w1": {"folder": str(self.w1.path), "resolution": 12}} | written
        self.path.write_text(yaml.safe_dump(content, sort_keys=False))

    def open_bus(self, number: int) -> object:
        self.opened += 1
        if self.no_bus is not None:
            raise self.no_bus
        return BlinkaI2C(self.bus)

    def source(self, lock: Path | None = None) -> PiSource:
        return PiSource(load_map(self.path), {}, self.open_bus, lock)


class Heard:
    """What the source has said so far, by channel: (mono, value or fault)."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.said: dict[str, list[tuple[float, Any]]] = {}
        self._more = asyncio.Event()

    def take(self, reading: Reading) -> None:
        self.readings.append(reading)
        for channel, value in (*reading.channels.items(), *reading.faults.items()):
            self.said.setdefault(channel, []).append((reading.mono, value))
        self._more.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._more.clear()
                await self._more.wait()

    def last(self, channel: str) -> Any:
        return self.said[channel][-1][1] if channel in self.said else None

    async def says(self, channel: str, wanted: Any) -> float:
        """Wait until the channel says this from now on; returns how long it took [s]."""
        begun = time.monotonic()

        def said() -> bool:
            mono, value = self.said.get(channel, [(0.0, None)])[-1]
            if mono < begun:
                return False
            return bool(value == wanted if isinstance(wanted, str) else isinstance(value, float) and wanted == value)

        await self.until(said)
        return time.monotonic() - begun

    def count(self, channel: str, since: float) -> int:
        """Good readings of a channel since then."""
        return sum(1 for mono, value in self.said.get(channel, ()) if mono >= since and isinstance(value, float))


@asynccontextmanager
async def hearing(source: PiSource) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async for reading in source.readings():
            heard.take(reading)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.close()
