"""The `bms` source: packs over Bluetooth, through aiobmsble. Wires only."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final

from services.bus.errors import ConfigError
from services.bus.settings import BusSettings
from services.sensor.bms import makes
from services.sensor.bms.config import BmsConfig, load_config
from services.sensor.bms.mapping import device_of
from services.sensor.source import Device, Reading

log = logging.getLogger(__name__)

PYTHON: Final = (3, 12)  # aiobmsble's
QUEUE_MAX: Final = 10_000  # readings that nobody has taken; beyond it the oldest goes


def open_source(path: Path | None, settings: BusSettings) -> "BmsSource":
    """Raises ConfigError naming file, key and rule; ModuleNotFoundError."""
    assert path is not None  # held by the settings
    config = load_config(path)
    check_python()
    makes.check(config, str(path))
    return BmsSource(config)


def check_python(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Raises ConfigError: what reads the packs cannot be installed here."""
    if version < PYTHON:
        here = ".".join(map(str, version))
        reason = f"needs Python 3.12 or later (Raspberry Pi OS 13, Debian 13); this is Python {here}"
        raise ConfigError("sensor", "source bms", reason)


class BmsSource:
    def __init__(self, config: BmsConfig) -> None:
        self._config = config
        self._devices = {name: device_of(pack) for name, pack in config.packs.items()}
        self._queue: asyncio.Queue[Reading] = asyncio.Queue(QUEUE_MAX)
        self.dropped = 0

    @property
    def devices(self) -> Mapping[str, Device]:
        return self._devices

    async def readings(self) -> AsyncGenerator[Reading, None]:
        from services.sensor.bms.pack import PackReader  # these need bleak
        from services.sensor.bms.radio import Radio

        radio = Radio(self._config.adapter)
        tasks = [
            asyncio.create_task(PackReader(name, pack, radio, self._hand_over).run(), name=f"bms.{name}.run")
            for name, pack in self._config.packs.items()
        ]
        try:
            while True:
                taking = asyncio.create_task(self._queue.get())
                try:
                    await asyncio.wait((taking, *tasks), return_when=asyncio.FIRST_COMPLETED)
                    for task in tasks:
                        if task.done():
                            task.result()  # raises what went wrong; live.py begins again
                            return
                    yield taking.result()
                finally:
                    taking.cancel()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """The connections end with readings()."""

    def _hand_over(self, reading: Reading) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped += 1
            if self.dropped % QUEUE_MAX == 1:
                log.error("more readings than can be taken; %d dropped so far", self.dropped)
        self._queue.put_nowait(reading)
