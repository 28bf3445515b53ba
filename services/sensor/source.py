"""Live sources: what the sensor service asks of anything that measures now (Pi hardware, BMS, simulator).

A source is a module `services.sensor.<name>.source` with `open_source(path, settings) -> Source`. It says which devices
it measures and yields readings as they come: a whole row at once (a BMS), or parts at their own rates (a voltage each
second, a probe when its conversion is done). What a reading is worth, when a row is due and what time it is are decided
by live.py and rows.py, alike for all sources.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from services.bus.errors import ConfigError
from services.bus.messages import Values
from services.sensor.resting import Rest

if TYPE_CHECKING:
    from services.sensor.settings import SensorSettings


@dataclass(frozen=True, slots=True)
class Device:
    """What a source measures of one device.

    Args:
        profile: name in profiles/.
        channels: measured channels -> None (scalar) or length (vector). Extremes and spread are derived from vectors.
        period_s: a row is due this often [s]; None = the profile's.
        max_age_s: a reading is good for this long [s]; older it is `fault:stale`. None = two periods.
        ages: the same for single channels or elements (`temperatures[2]`) that are read more slowly.
        start_s: the first reading may take this long [s]; then rows begin, whatever is missing.
        rest: when it rests, and how seldom rows are due then; None = it never does.
    """

    profile: str
    channels: Mapping[str, int | None]
    period_s: float | None = None
    max_age_s: float | None = None
    ages: Mapping[str, float] = field(default_factory=dict)
    start_s: float = 2.0
    rest: Rest | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a device at one moment.

    Args:
        mono: `time.monotonic()` when it was measured [s].
        channels: channel, or `temperatures[2]` for one element of a vector -> value in the profile's unit and sign.
            None without a fault means that the source said `no reading`.
        faults: channel or element -> why there is no reading: `crc`, `bus`, `open` (a-z, 0-9, _). It overrules a value.

    A reading that speaks of every channel of its device is a row and published as it comes; parts are gathered and
    published once a period.
    """

    device: str
    mono: float
    channels: Mapping[str, Values]
    faults: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Something that measures. Never raises for a device that fails: that is a reading with faults."""

    @property
    def devices(self) -> Mapping[str, Device]:
        """Device name -> what is measured. May grow or change while it runs (a BMS tells how many cells it has)."""
        ...

    def readings(self) -> AsyncIterator[Reading]:
        """Readings of all devices as they come. Called again, after a pause, when it ended or raised."""
        ...

    async def close(self) -> None:
        """Let go of the hardware."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A source that can measure more seldom."""

    def pace(self, device: str, period_s: float | None) -> None:
        """Measure this device so often [s]; None = as it does otherwise, from now on."""
        ...


def open_source(name: str, path: Path | None, settings: "SensorSettings") -> Source:
    """Make the source `name` from its file.

    Raises:
        ConfigError: the file is wrong (names file and key), or a package that the source needs is not installed.
    """
    module = f"services.sensor.{name}.source"
    try:
        made: Source = import_module(module).open_source(path, settings)
    except ModuleNotFoundError as error:
        reason = f"needs the Python package {error.name!r}: pip install 'emberwatch[{name}]'"
        raise ConfigError("sensor", f"source {name}", reason) from None
    return made
