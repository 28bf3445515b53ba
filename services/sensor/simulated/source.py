"""Simulated packs as a live source: a row of every pack each period, in real time."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.sensor.simulated.config import SimulationConfig, load_config
from services.sensor.simulated.running import RunningPack
from services.sensor.source import Device, Reading

if TYPE_CHECKING:
    from services.sensor.settings import SensorSettings

PROFILE: Final = "battery"
LONGEST_S: Final = 600.0  # a machine that slept is not caught up with


class SimulatedSource:
    """Packs of a configuration; they begin anew with the process."""

    def __init__(self, config: SimulationConfig) -> None:
        self._period_s = config.period_s
        self._packs = {
            name: RunningPack(pack, config.seed, number) for number, (name, pack) in enumerate(config.packs.items())
        }
        self._devices = {
            name: Device(
                PROFILE,
                {
                    "voltage": None,
                    "current": None,
                    "soc": None,
                    "cell_voltages": pack.cells,
                    "temperatures": pack.probes,
                },
                period_s=config.period_s,
            )
            for name, pack in config.packs.items()
        }
        self._reached: float | None = None  # steady time up to which the packs have run

    @property
    def devices(self) -> Mapping[str, Device]:
        return self._devices

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            now = time.monotonic()
            due = (math.floor(now / self._period_s) + 1) * self._period_s
            await asyncio.sleep(due - now)
            passed = self._period_s if self._reached is None else min(due - self._reached, LONGEST_S)
            self._reached = due
            for name, pack in self._packs.items():
                pack.advance(passed)
                channels, faults = pack.read()
                yield Reading(name, due, channels, faults)

    async def close(self) -> None:
        return None


def open_source(path: Path | None, settings: "SensorSettings") -> SimulatedSource:
    """Raises ConfigError naming file and key."""
    return SimulatedSource(load_config(path))
