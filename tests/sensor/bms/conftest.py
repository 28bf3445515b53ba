"""The system bus of a test, and packs that are read through it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from services.bus.settings import BusSettings
from services.sensor.bms.source import BmsSource, open_source
from services.sensor.source import Reading

PATIENCE_S = 30.0


class Watching:
    """A source that is read; what came so far is in `readings`."""

    def __init__(self, source: BmsSource) -> None:
        self.source = source
        self.readings: list[Reading] = []
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        async with aclosing(cast(Any, self.source.readings())) as readings:
            async for reading in readings:
                self.readings.append(reading)
                self._came.set()

    async def until(self, wanted: Callable[[Reading], bool], after: int = 0) -> Reading:
        """The first reading that is so, from number `after` on."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for reading in self.readings[after:]:
                    if wanted(reading):
                        return reading
                self._came.clear()
                await self._came.wait()

    async def good(self, device: str = "pack-1") -> Reading:
        """The next reading without a fault."""
        return await self.until(lambda r: r.device == device and not r.faults, len(self.readings))

    async def fault(self, reason: str, device: str = "pack-1") -> Reading:
        """The next reading of which all channels have this fault."""
        return await self.until(lambda r: r.device == device and set(r.faults.values()) == {reason}, len(self.readings))


@pytest.fixture
async def system_bus(dbus: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where bleak looks for BlueZ. What bleak keeps of it for the life of a process ends with the test."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", dbus)
    yield dbus
    from bleak.backends.bluezdbus.manager import _global_instances

    for manager in list(_global_instances.values()):
        if manager._bus is not None:
            manager._bus.disconnect()
        if manager._bus_watcher_task is not None:
            await manager._bus_watcher_task
    _global_instances.clear()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as on a real radio."""
    from aiobmsble.basebms import BaseBMS

    from services.sensor.bms import pack, radio

    monkeypatch.setattr(BaseBMS, "_RETRY_TIMEOUT", 0.05)
    monkeypatch.setattr(radio, "LISTEN_S", 0.5)
    monkeypatch.setattr(pack, "RETRY_S", (0.1, 0.2))


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Callable[[str], Watching]]:
    """Makes a source of `packs:` and reads it until the test ends."""
    begun: list[Watching] = []

    def begin(packs: str) -> Watching:
        path = tmp_path / "bms.yaml"
        path.write_text(packs)
        begun.append(Watching(open_source(path, BusSettings(data_dir=tmp_path, node="pi"))))
        return begun[-1]

    yield begin
    for watching in begun:
        await watching.stop()
