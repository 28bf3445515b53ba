"""DS18B20 and its kin through w1thermsensor on the kernel's w1_therm: one probe, one reading at a time, blocking."""

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

os.environ.setdefault("W1THERMSENSOR_NO_KERNEL_MODULE", "1")  # else its import calls modprobe, and raises without it

from w1thermsensor import NoSensorFoundError, Sensor, W1ThermSensor

from services.sensor.pi.power_on import PowerOn

CONVERSION_S: Final = {9: 0.094, 10: 0.188, 11: 0.375, 12: 0.75}  # longest, by bits (data sheet 19-7487)
SCRATCHPAD: Final = 9  # bytes, with the CRC
AGAIN_S: Final = 600.0  # between attempts to set the resolution: some clones have only one
log = logging.getLogger(__name__)


class ProbeFault(Exception):
    """A probe gave no reading. `reason`: as in the quality `fault:<reason>`.

    gone: not on the wire; no_data: it answers, and says nothing (empty, zeros: a shorted wire); crc: noise on the wire;
    power_on, no_power: see power_on.py.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ThermSensor(W1ThermSensor):  # type: ignore[misc]  # the driver has no types
    """The driver, with its folder per probe; what was read is kept, to say what was wrong with it."""

    SENSOR_RESET_VALUE = math.nan  # 85.0 is judged by power_on.py

    def __init__(self, folder: Path, name: str) -> None:
        self.BASE_DIRECTORY = folder
        self.lines: list[str] = []
        super().__init__(Sensor.from_id_string(name[:2]), name[3:])

    def get_raw_sensor_strings(self) -> list[str]:
        """As the driver's own, which calls an empty read, a bad CRC and a missing file alike `not ready`."""
        self.lines = []
        lines: list[str] = self.sensorpath.read_text(encoding="ascii", errors="replace").splitlines()
        if len(lines) < 2 or len(lines[0].split()) < SCRATCHPAD or lines[0].split()[:SCRATCHPAD] == ["00"] * SCRATCHPAD:
            raise ProbeFault("no_data")
        if not lines[0].rstrip().endswith("YES"):
            raise ProbeFault("crc")
        self.lines = lines
        return lines


class Thermometer:
    """One probe.

    Args:
        folder: /sys/bus/w1/devices.
        name: `28-0000012345ab`.
        resolution: bits.
    """

    def __init__(
        self, folder: Path, name: str, resolution: int = 12, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self.name, self._resolution, self._clock = folder, name, resolution, clock
        self._power_on = PowerOn()
        self._sensor: ThermSensor | None = None
        self._set_at = -math.inf

    def read(self) -> float:
        """Measure and read [degC]. Takes a conversion's time, up to some seconds when the wire is noisy.

        Raises:
            ProbeFault: there is no reading.
        """
        try:
            if self._sensor is None:
                self._sensor = ThermSensor(self._folder, self.name)
            celsius = float(self._sensor.get_temperature())
            scratchpad = [int(byte, 16) for byte in self._sensor.lines[1].split()[:SCRATCHPAD]]
        except (NoSensorFoundError, OSError) as error:
            self._sensor = None
            self._power_on.away()
            there = (self._folder / self.name).is_dir()  # the kernel's answer to a failed conversion is an I/O error
            raise ProbeFault("no_data" if there else "gone") from error
        except (ValueError, IndexError) as error:
            raise ProbeFault("no_data") from error
        self._set_resolution(scratchpad[4])
        reason = self._power_on.reason(round(celsius * 16), scratchpad[6], self._clock())
        if reason is not None:
            raise ProbeFault(reason)
        return celsius

    def _set_resolution(self, config: int) -> None:
        """The probe forgets it with its supply (it is kept out of its EEPROM, which wears)."""
        present, now = 9 + (config >> 5 & 3), self._clock()
        if present == self._resolution or now - self._set_at < AGAIN_S:
            return
        self._set_at = now
        folder = self._folder / self.name
        file = folder / "resolution"
        try:
            (file if file.exists() else folder / "w1_slave").write_text(f"{self._resolution}\n", encoding="ascii")
        except OSError as error:
            log.warning(
                "%s: measures with %d bits, not %d: %s", self.name, present, self._resolution, error.strerror or error
            )
