"""The node's own computer as a device: its health, and whether its power is lost. Switches it off in time."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.bus.profiles import load_profile
from services.bus.topics import NODE_DEVICE
from services.sensor.host.machine import Machine
from services.sensor.host.outage import Outage
from services.sensor.host.ups import Said, Signal, open_ups
from services.sensor.source import Device, Reading

if TYPE_CHECKING:
    from services.sensor.settings import SensorSettings

log = logging.getLogger(__name__)

PROFILE: Final = "host"
POWER: Final = "power_lost"


class HostSource:
    """Args:
    signal: the UPS's; None = there is none.
    outage: when to switch off; request: the file that asks for it.
    """

    def __init__(
        self,
        machine: Machine,
        signal: Signal | None = None,
        outage: Outage | None = None,
        request: Path | None = None,
        period_s: float | None = None,
    ) -> None:
        self._machine, self._signal, self._outage, self._request = machine, signal, outage, request
        self._period_s = period_s or load_profile(PROFILE).period_s
        channels = (*machine.channels, *([POWER] if signal is not None else []))
        self._devices = {NODE_DEVICE: Device(PROFILE, dict.fromkeys(channels), self._period_s)}
        self._power: str | None = None  # as it was said last

    @property
    def devices(self) -> Mapping[str, Device]:
        return self._devices

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            yield await asyncio.to_thread(self._look)
            now = time.monotonic()
            await asyncio.sleep((math.floor(now / self._period_s) + 1) * self._period_s - now)

    def _look(self) -> Reading:
        values, faults = self._machine.read()
        values, faults = dict(values), dict(faults)
        if self._signal is not None:
            said: Said | None = None
            try:
                said = self._signal.ask()
                values[POWER] = float(said.lost)
            except OSError as error:
                self._signal.close()
                faults[POWER] = "ups"
                self._say(f"the UPS does not answer: {error}")
            self._judge(said)
        return Reading(NODE_DEVICE, time.monotonic(), values, faults)

    def _judge(self, said: Said | None) -> None:
        if said is not None:
            self._say("the power is lost" if said.lost else "there is power")
        off = self._outage is not None and self._outage.update(
            time.monotonic(), None if said is None else said.lost, said is not None and said.low
        )
        if off and self._request is not None and not self._request.exists():
            log.critical("switching off before the battery of the UPS is empty")
            try:
                self._request.touch()
            except OSError as error:
                log.error("%s: %s; nobody switches this computer off", self._request, error)

    def _say(self, power: str) -> None:
        if power != self._power:
            log.log(logging.INFO if power == "there is power" else logging.WARNING, "%s", power)
            self._power = power

    async def close(self) -> None:
        if self._signal is not None:
            self._signal.close()


def open_source(path: Path | None, settings: "SensorSettings") -> HostSource:
    """The computer that this runs on; nothing of it can be set up wrongly."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    machine, ups = Machine(settings.data_dir), settings.ups
    if ups is None:
        return HostSource(machine)
    return HostSource(machine, open_ups(ups), Outage(ups.shutdown_after_s), ups.request)
