"""One round over the chips of an I2C bus: what each input read, or why it did not. Blocking; used by one thread.

A chip that fails costs its own inputs only. A wire that is held low costs the bus, whose transfers then take a second
each until the kernel gives up; so it is left alone for a while, and says so each period meanwhile.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from services.sensor.pi.ads1115 import Adc
from services.sensor.pi.calibration import Calibration
from services.sensor.pi.chips import ChipFault
from services.sensor.pi.ina import ShuntMeter
from services.sensor.pi.map import Ads1115, Analog, Meter, PiMap
from services.sensor.pi.scaling import PinFault
from services.sensor.source import Reading

log = logging.getLogger(__name__)

BACKOFF_S: Final = (0.5, 5.0)  # after a bus that failed as a whole: first and longest pause
WHOLE_BUS: Final = frozenset({"bus_locked", "no_bus"})

Input = tuple[str, str, Analog | Meter]  # device, channel or element, what it is


class I2cRound:
    """Reads the inputs of all devices that are on the bus.

    Args:
        periods: of the devices [s]; a round is due at the shortest, and a device in it as often as its own says.
        open_bus: opens the bus; raises ChipFault.
        calibrations: by `device/channel`.
    """

    def __init__(
        self,
        wiring: PiMap,
        periods: Mapping[str, float],
        calibrations: Mapping[str, Calibration],
        open_bus: Callable[[int], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wiring, self._calibrations, self._open, self._clock = wiring, calibrations, open_bus, clock
        self._inputs: dict[str, list[Input]] = {}  # by chip
        for device, what in wiring.devices.items():
            for channel, given in what.inputs():
                if isinstance(given, Analog | Meter):
                    self._inputs.setdefault(given.chip, []).append((device, channel, given))
        self._bus: object | None = None
        self._chips: dict[str, Adc | ShuntMeter] = {}
        self._trouble: str | None = None  # of the whole bus
        self._again_at, self._pause = -math.inf, BACKOFF_S[0]
        self._said: dict[str, str | None] = {}

        self._here = {device for inputs in self._inputs.values() for device, _, _ in inputs}
        self._every: dict[str, int] = {}
        self._wanted: dict[str, int] | None = None
        self._round = -1
        self.period_s = self.pace(periods)

    def pace(self, periods: Mapping[str, float]) -> float:
        """Devices are due so often from now on, all with the next round; returns how often a round is due [s].

        May be called from another thread than the rounds.
        """
        period_s = min((periods[device] for device in self._here), default=math.inf)
        self._wanted = {d: max(1, int(periods[d] / period_s + 1e-6)) for d in self._here}
        return period_s

    @property
    def any(self) -> bool:
        return bool(self._inputs)

    def failed(self, reason: str = "driver") -> list[Reading]:
        """All inputs of this round with one fault."""
        faults = {(device, channel): reason for inputs in self._due().values() for device, channel, _ in inputs}
        return self._readings({}, faults)

    def _due(self) -> dict[str, list[Input]]:
        """Inputs of this round, by chip."""
        due = {
            chip: [one for one in inputs if self._round % self._every[one[0]] == 0]
            for chip, inputs in self._inputs.items()
        }
        return {chip: inputs for chip, inputs in due.items() if inputs}

    def __call__(self) -> list[Reading]:
        """One round: a reading for each device that has inputs here and is due."""
        self._round += 1
        if (wanted := self._wanted) is not None:
            self._every, self._wanted, self._round = wanted, None, 0
        if self._trouble is not None and self._clock() < self._again_at:
            return self.failed(self._trouble)
        values: dict[tuple[str, str], float] = {}
        faults: dict[tuple[str, str], str] = {}
        try:
            if self._bus is None:
                self._bus = self._open(self._wiring.i2c.bus)
            for name, inputs in self._due().items():
                self._read(name, inputs, values, faults)
        except ChipFault as fault:  # of the whole bus
            self._leave_alone(fault.reason)
            return self.failed(fault.reason)
        if self._trouble is not None:
            log.warning("I2C bus %d: back", self._wiring.i2c.bus)
        self._trouble, self._pause = None, BACKOFF_S[0]
        return self._readings(values, faults)

    def _leave_alone(self, reason: str) -> None:
        if self._trouble != reason:
            log.error("I2C bus %d: %s", self._wiring.i2c.bus, reason)
        self._trouble, self._bus = reason, None
        self._chips.clear()
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, BACKOFF_S[1])

    def _read(
        self,
        name: str,
        inputs: list[Input],
        values: dict[tuple[str, str], float],
        faults: dict[tuple[str, str], str],
    ) -> None:
        chip = self._chip(name)
        reason: str | None = None
        try:
            if isinstance(chip, ShuntMeter):
                meters = {f"{d}/{c}": given for d, c, given in inputs if isinstance(given, Meter)}
                found = chip.read(meters)
            else:
                found = {}
                for device, channel, given in inputs:
                    if isinstance(given, Analog):
                        found[f"{device}/{channel}"] = self._pin(chip, f"{device}/{channel}", given)
        except ChipFault as fault:
            if fault.reason in WHOLE_BUS:
                raise
            reason, found = fault.reason, {}
        self._say(name, reason)
        for device, channel, _ in inputs:
            read = found.get(f"{device}/{channel}")
            if isinstance(read, float):
                calibration = self._calibrations.get(f"{device}/{channel}")
                values[device, channel] = calibration(read) if calibration else read
            else:
                faults[device, channel] = read.reason if isinstance(read, PinFault) else reason or "driver"

    @staticmethod
    def _pin(chip: Adc, name: str, given: Analog) -> float | PinFault:
        try:
            return chip.read(name, given)
        except PinFault as fault:
            return fault

    def _chip(self, name: str) -> Adc | ShuntMeter:
        if name not in self._chips:
            what = self._wiring.chips[name]
            assert self._bus is not None
            self._chips[name] = Adc(what, self._bus) if isinstance(what, Ads1115) else ShuntMeter(what, self._bus)
        return self._chips[name]

    def _say(self, name: str, reason: str | None) -> None:
        if self._said.get(name) != reason:
            log.log(logging.WARNING if reason else logging.INFO, "chip %s: %s", name, reason or "answers")
            self._said[name] = reason

    def _readings(
        self, values: Mapping[tuple[str, str], float], faults: Mapping[tuple[str, str], str]
    ) -> list[Reading]:
        now = self._clock()
        devices = dict.fromkeys(device for device, _ in (*values, *faults))
        return [
            Reading(
                name,
                now,
                {channel: value for (device, channel), value in values.items() if device == name},
                {channel: reason for (device, channel), reason in faults.items() if device == name},
            )
            for name in devices
        ]
