"""The Pi's own hardware as a source: one thread for the I2C bus, one for each thermometer."""

import asyncio
import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from services.bus.errors import ConfigError, SourceError
from services.bus.profiles import load_profile
from services.sensor.pi import calibration as calibrations
from services.sensor.pi.calibration import Calibration
from services.sensor.pi.chips import LinuxI2C
from services.sensor.pi.i2c import I2cRound
from services.sensor.pi.map import PiMap, load_map
from services.sensor.pi.map import Thermometer as ThermometerInput
from services.sensor.pi.stuck import Stuck
from services.sensor.pi.w1 import CONVERSION_S, ProbeFault, Thermometer
from services.sensor.pi.worker import PHASE, Worker
from services.sensor.settings import SensorSettings
from services.sensor.source import Device, Reading

log = logging.getLogger(__name__)

READ_S: Final = 0.15  # to reset the wire, address a probe and fetch its scratchpad, with what the kernel adds
FRESH: Final = 2.0  # periods that a reading is good for,
LATE: Final = 1.25  # or so much of the time in which all probes are read,
SPARE_S: Final = 0.5  # and this


class PiSource:
    """Chips and probes of a map.

    Args:
        kept: calibrations by `device/channel`.
        open_bus: opens an I2C bus by its number.
        lock: file that is locked while we measure: two that talk to one converter spoil each other's readings.
    """

    def __init__(
        self,
        wiring: PiMap,
        kept: Mapping[str, Calibration],
        open_bus: Callable[[int], object] = LinuxI2C,
        lock: Path | None = None,
    ) -> None:
        self._wiring, self._kept, self._open, self._file = wiring, kept, open_bus, lock
        self.devices: dict[str, Device] = {name: self._device(name) for name in wiring.devices}
        self._last: dict[str, float] = {}  # what each probe read last, for those beside it
        self._said: dict[str, str | None] = {}  # of each probe, to the log
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._paces: dict[str, float] = {}  # of devices at rest [s]
        self._i2c: tuple[I2cRound, Worker] | None = None
        self._probes: dict[str, Worker] = {}

    def _device(self, name: str) -> Device:
        what = self._wiring.devices[name]
        period_s = what.period_s or load_profile(what.profile).period_s
        lengths = {c: len(given) if isinstance(given, tuple) else None for c, given in what.channels.items()}
        ages = {
            channel: self._age(given.probe, period_s)
            for channel, given in what.inputs()
            if isinstance(given, ThermometerInput)
        }
        return Device(what.profile, lengths, period_s, ages=ages, rest=what.rest)

    def _age(self, probe: str, period_s: float) -> float:
        """How long a probe's reading is good [s].

        Kernels since 6.5 hold the wire while a probe converts, so all probes' conversions come one after another.
        """
        if self._wiring.w1.max_age_s is not None:
            return self._wiring.w1.max_age_s
        cycle = sum(CONVERSION_S[self._wiring.resolution(name)] + READ_S for name in self._used())
        return max(FRESH * period_s, LATE * cycle + SPARE_S)

    def _used(self) -> dict[str, list[tuple[str, str]]]:
        """Probes that some device has -> (device, channel) that they are."""
        used: dict[str, list[tuple[str, str]]] = {}
        for name, device in self._wiring.devices.items():
            for channel, given in device.inputs():
                if isinstance(given, ThermometerInput):
                    used.setdefault(given.probe, []).append((name, channel))
        return used

    async def readings(self) -> AsyncGenerator[Reading, None]:
        """Raises SourceError: another process measures (a calibration, a second service)."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Reading] = asyncio.Queue()

        def put(readings: Sequence[Reading]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                for reading in readings:
                    loop.call_soon_threadsafe(queue.put_nowait, reading)

        with _locked(self._file):
            self._start(put)
            try:
                while True:
                    yield await queue.get()
            finally:
                self._stop()

    def _start(self, put: Callable[[Sequence[Reading]], None]) -> None:
        periods = {name: device.period_s or 1.0 for name, device in self.devices.items()}
        self._paces.clear()
        chips = I2cRound(self._wiring, periods, self._kept, self._open)
        if chips.any:
            self._i2c = chips, Worker("i2c", chips.period_s, PHASE, chips, chips.failed, put)
            self._workers.append(self._i2c[1])
        for probe, places in self._used().items():
            period_s = min(periods[device] for device, _ in places)
            thermometer = Thermometer(
                self._wiring.w1.folder, self._wiring.probes[probe].id, self._wiring.resolution(probe)
            )
            stuck = Stuck(self._wiring.probes[probe].warms_with)
            measure = partial(self._measure, probe, thermometer, stuck, places)
            failed = partial(self._faults, places, "driver")
            self._probes[probe] = Worker(f"w1 {probe}", period_s, None, measure, failed, put)
            self._workers.append(self._probes[probe])
        for worker in self._workers:
            worker.start()

    def _stop(self) -> None:
        """Ask all threads to end. One that hangs in the kernel ends with the process."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._probes.clear()
        self._i2c = None

    def pace(self, device: str, period_s: float | None) -> None:
        """Chips and probes are read as often as the device that needs them most often needs them."""
        self._paces.pop(device, None)
        if period_s is not None:
            self._paces[device] = period_s
        periods = {name: self._paces.get(name) or each.period_s or 1.0 for name, each in self.devices.items()}
        if self._i2c is not None:
            chips, worker = self._i2c
            worker.pace(chips.pace(periods))
        for probe, places in self._used().items():
            if probe in self._probes:
                self._probes[probe].pace(min(periods[name] for name, _ in places))

    def _measure(
        self, probe: str, thermometer: Thermometer, stuck: Stuck, places: Sequence[tuple[str, str]]
    ) -> list[Reading]:
        reason = None
        try:
            celsius = thermometer.read()
        except ProbeFault as fault:
            reason = fault.reason
        with self._lock:
            self._last.pop(probe, None)
            if reason is None:
                self._last[probe] = celsius
                reason = "stuck" if stuck.take(celsius, self._last) else None
        self._say(probe, reason)
        if reason is not None:
            return self._faults(places, reason)
        now = time.monotonic()
        return [
            Reading(device, now, {channel: self._calibrated(device, channel, celsius)}) for device, channel in places
        ]

    def _calibrated(self, device: str, channel: str, value: float) -> float:
        kept = self._kept.get(f"{device}/{channel}")
        return kept(value) if kept is not None else value

    def _say(self, probe: str, reason: str | None) -> None:
        if self._said.get(probe) != reason:
            log.log(logging.WARNING if reason else logging.INFO, "probe %s: %s", probe, reason or "answers")
            self._said[probe] = reason

    @staticmethod
    def _faults(places: Sequence[tuple[str, str]], reason: str) -> list[Reading]:
        now = time.monotonic()
        return [Reading(device, now, {}, {channel: reason}) for device, channel in places]

    async def close(self) -> None:
        self._stop()


@contextlib.contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SourceError(str(path), "another process measures; is the sensor service running?") from None
        yield


def open_source(path: Path | None, settings: SensorSettings) -> PiSource:
    """Raises ConfigError: the map or its calibrations are wrong; names file and key."""
    if path is None:
        raise ConfigError("sensor", "pi", "expected the file of the wiring")
    wiring = load_map(path)
    file = calibrations.file_of(wiring, path)
    return PiSource(wiring, calibrations.fitting(calibrations.load(file), wiring, file), lock=path)
