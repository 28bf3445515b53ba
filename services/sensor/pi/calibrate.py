"""Calibrate one channel against a meter: `emberwatch doctor --calibrate DEVICE CHANNEL TRUE [TRUE]`.

Nothing else may measure meanwhile: stop the sensor service first.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Final

from services.bus.errors import ConfigError, EmberwatchError
from services.bus.profiles import load_profile
from services.sensor.pi import calibration
from services.sensor.pi.calibration import Calibration, CalibrationError
from services.sensor.pi.chips import LinuxI2C
from services.sensor.pi.map import DeviceMap, PiMap, load_map
from services.sensor.pi.source import PiSource
from services.sensor.settings import SensorSettings

SECONDS: Final = 5.0
PATIENCE_S: Final = 10.0  # for a source of which nothing comes
LEAST_READINGS: Final = 3
STEADY: Final = 0.01  # of the reading (or of its unit, where that is more): what moves more is no point


@dataclass(frozen=True, slots=True)
class Measured:
    """What a channel read without calibration, in its unit."""

    mean: float
    deviation: float
    count: int


async def measure(
    wiring: PiMap,
    device: str,
    channel: str,
    seconds: float = SECONDS,
    *,
    lock: Path | None = None,
    open_bus: Callable[[int], object] = LinuxI2C,
) -> Measured:
    """Read one channel for a while.

    Args:
        channel: `voltage`, or `temperatures[0]`.
    Raises:
        CalibrationError: it is not in the map, cannot be read, or is not steady.
        SourceError: something else measures.
    """
    only, key = _only(wiring, device, channel)
    read: list[float] = []
    reason = "no reading"
    source = PiSource(only, {}, open_bus, lock)
    until = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds + PATIENCE_S), aclosing(source.readings()) as readings:
            async for reading in readings:
                value = reading.channels.get(key)
                if isinstance(value, float):
                    read.append(value)
                else:
                    reason = reading.faults.get(key, reason)
                if time.monotonic() >= until:
                    break
    except TimeoutError:
        reason = "nothing came"
    finally:
        await source.close()
    if len(read) < LEAST_READINGS:
        raise CalibrationError(f"{device}/{channel}: {len(read)} readings in {seconds:g} s: {reason}")
    found = Measured(fmean(read), pstdev(read), len(read))
    if found.deviation > STEADY * max(abs(found.mean), 1.0):
        raise CalibrationError(f"{device}/{channel}: not steady: {found.mean:.4g} +- {found.deviation:.2g}")
    return found


def _only(wiring: PiMap, device: str, channel: str) -> tuple[PiMap, str]:
    """The map with nothing but this channel, and what it is called there."""
    what = wiring.devices.get(device)
    if what is None:
        raise CalibrationError(f"{device!r} is none of the map's devices: {', '.join(wiring.devices)}")
    inputs = dict(what.inputs())
    if channel not in inputs:
        raise CalibrationError(f"{channel!r} is none of {device}'s channels: {', '.join(inputs)}")
    name, _, element = channel.partition("[")
    given = inputs[channel]
    alone = DeviceMap(profile=what.profile, period_s=what.period_s, channels={name: (given,) if element else given})
    return wiring.model_copy(update={"devices": {device: alone}}), f"{name}[0]" if element else name


def unit_of(wiring: PiMap, device: str, channel: str) -> str:
    return load_profile(wiring.devices[device].profile).by_name[channel.partition("[")[0]].unit


def calibrate(
    path: Path,
    device: str,
    channel: str,
    true: Sequence[float],
    apply: Callable[[str], None],
    seconds: float = SECONDS,
    *,
    open_bus: Callable[[int], object] = LinuxI2C,
) -> tuple[Calibration, list[Measured]]:
    """Measure at one or two true values and keep the line through them.

    Args:
        path: of the map.
        true: what a good meter shows, in the channel's unit.
        apply: is told what to apply, and returns when it is.
    Raises:
        CalibrationError, ConfigError, SourceError: nothing was kept.
    """
    wiring = load_map(path)
    _only(wiring, device, channel)
    unit, measured = unit_of(wiring, device, channel), []
    for value in true:
        apply(f"Apply {value:g} {unit} to {device}/{channel}")
        measured.append(asyncio.run(measure(wiring, device, channel, seconds, lock=path, open_bus=open_bus)))
    given = dict(wiring.devices[device].inputs())[channel]
    points = [(found.mean, value) for found, value in zip(measured, true, strict=True)]
    made = calibration.fit(points, calibration.digest(given, wiring))
    calibration.save(calibration.file_of(wiring, path), f"{device}/{channel}", made)
    return made, measured


def main(arguments: Sequence[str] | None = None, *, open_bus: Callable[[int], object] = LinuxI2C) -> int:
    parser = argparse.ArgumentParser(prog="emberwatch doctor --calibrate", description=__doc__)
    parser.add_argument("device", help="as in the map: pack-1")
    parser.add_argument("channel", help="voltage, or temperatures[0]")
    parser.add_argument("true", type=float, nargs="+", help="what a good meter shows: one value (offset only) or two")
    parser.add_argument("--map", type=Path, help="the wiring; default: that of the settings")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to measure each value")
    given = parser.parse_args(arguments)

    def ask(text: str) -> None:
        input(f"{text}, then press Enter: ")

    try:
        path = given.map or SensorSettings.load().pi
        if path is None:
            raise ConfigError("sensor", "pi", "the settings name no map; give --map")
        where = path, given.device, given.channel
        made, measured = calibrate(*where, given.true, ask, given.seconds, open_bus=open_bus)
    except EmberwatchError as error:
        print(error, file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("\nnothing was kept", file=sys.stderr)
        return 130
    for found, true in zip(measured, given.true, strict=True):
        print(f"read {found.mean:.5g} +- {found.deviation:.2g} ({found.count} readings), true {true:g}")
    print(f"true = read * {made.gain:.5f} + {made.offset:.5g}; in effect when the sensor service is started")
    return 0


if __name__ == "__main__":
    sys.exit(main())
