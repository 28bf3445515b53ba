"""From raw columns to readings with quality. Pure and vectorised: a chunk of rows at a time.

Nothing is dropped and nothing invented: what is no number becomes null with `fault:nan`, what the source calls missing
`fault:missing`; what no sensor of the kind can read keeps its value and is marked `range`; what changed faster than the
profile's `jump` allows is marked `suspect` (it may be the one true sign of a runaway).
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bus.profiles import Profile, ProfileChannel

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

GOOD, NAN, MISSING, RANGE, SUSPECT = range(5)
QUALITY: Final = {NAN: "fault:nan", MISSING: "fault:missing", RANGE: "range", SUSPECT: "suspect"}
DERIVED: Final = {  # scalar -> vector, and which of its usable elements: +1 greatest, -1 least
    "cell_voltage_max": ("cell_voltages", +1),
    "cell_voltage_min": ("cell_voltages", -1),
    "temperature_max": ("temperatures", +1),
    "temperature_min": ("temperatures", -1),
}
SPREAD: Final = "cell_spread"  # of cell_voltage_max and cell_voltage_min


@dataclass(slots=True)
class Readings:
    """A chunk of one channel: values (rows,) or (rows, elements) in the profile's unit, and a code for each."""

    values: Floats
    codes: Codes

    @property
    def usable(self) -> NDArray[np.bool_]:
        return np.asarray((self.codes == GOOD) | (self.codes == SUSPECT), np.bool_)


@dataclass(slots=True)
class Reference:
    """What one element read last, to tell a jump from a trend.

    A reading is believable if it is near the last believable one, or if the reading before it (a jump then) confirms
    it. `jump`: largest change per second, channel's unit.
    """

    jump: float
    good: float = math.nan
    good_at: float = 0.0
    doubtful: float = math.nan
    doubtful_at: float = 0.0

    def take(self, value: float, mono: float) -> bool:
        """Take a reading; return whether it is believable."""
        if math.isnan(self.good) or any(
            abs(value - earlier) <= self.jump * max(mono - at, 1.0)  # NaN compares false
            for earlier, at in ((self.good, self.good_at), (self.doubtful, self.doubtful_at))
        ):
            self.good, self.good_at, self.doubtful = value, mono, math.nan
            return True
        self.doubtful, self.doubtful_at = value, mono
        return False


@dataclass(slots=True)
class Judge:
    """Judges chunks of one channel in order; remembers the last good reading of each element."""

    channel: ProfileChannel
    missing: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    _references: list["Reference"] = field(default_factory=list)

    def __call__(self, raw: Floats, mono: Floats) -> Readings:
        """Args: raw: (rows,) or (rows, elements) as recorded; mono: (rows,) time [s], not decreasing."""
        with np.errstate(over="ignore"):  # what overflows is no reading either
            # float32 recordings hold 355.2 as 355.20001: 0.1 mV is beyond any sensor here
            values = np.round(raw * self.scale + self.offset, 4)
        codes = np.zeros(raw.shape, np.uint8)
        codes[~np.isfinite(values)] = NAN
        for value in self.missing:
            codes[raw == value] = MISSING
        codes[(codes == GOOD) & ((values < self.channel.low) | (values > self.channel.high))] = RANGE
        if self.channel.jump is not None and len(values):
            self._mark_jumps(values, codes, mono)
        return Readings(values, codes)

    def _mark_jumps(self, values: Floats, codes: Codes, mono: Floats) -> None:
        flat, marks = values.reshape(len(values), -1), codes.reshape(len(values), -1)
        if not self._references:
            self._references = [Reference(self.channel.jump or 0.0) for _ in range(flat.shape[1])]
        # nearly always nothing moves fast: the extremes of a chunk and its references lie within one second's jump
        known = np.where(marks == GOOD, flat, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an element without any reading
            high, low = np.nanmax(known, axis=0), np.nanmin(known, axis=0)
        for element, reference in enumerate(self._references):
            last = high[element] if np.isnan(reference.good) else reference.good
            if max(high[element], last) - min(low[element], last) <= reference.jump:
                rows = np.nonzero(marks[:, element] == GOOD)[0]
                if len(rows):
                    reference.take(float(flat[rows[-1], element]), float(mono[rows[-1]]))
                continue
            for row in np.nonzero(marks[:, element] == GOOD)[0]:
                if not reference.take(float(flat[row, element]), float(mono[row])):
                    marks[row, element] = SUSPECT


def with_derived(present: Mapping[str, int | None], profile: Profile) -> dict[str, int | None]:
    """The channels that a device has (-> None, or a vector's length) when its extremes and spread are added."""
    found = dict(present)
    for name, (vector, _) in DERIVED.items():
        if found.get(vector) is not None and name in profile.by_name:
            found[name] = None
    if "cell_voltage_max" in found and "cell_voltage_min" in found and SPREAD in profile.by_name:
        found[SPREAD] = None
    return found


def derive(channels: dict[str, Readings], profile: Profile, doubtful: dict[str, int]) -> None:
    """Add min and max of the vectors' usable elements, and the cells' spread.

    Where no element is usable a mapped scalar remains, and the spread is the scalars'. What is derived is `suspect`
    when what it comes from is. If that element then dies, the others must not speak for it: they would contradict the
    one sign of a runaway. So the extreme is missing for one row.

    Args:
        doubtful: kept from chunk to chunk: the element that the last row's suspect extreme came from.
    """
    for name, (vector, extreme) in DERIVED.items():
        if vector not in channels or name not in profile.by_name:
            continue
        source = channels[vector]
        usable = source.usable
        some = usable.any(axis=1)
        at = np.where(usable, source.values * extreme, -np.inf).argmax(axis=1)
        rows = np.arange(len(source.values))
        values, codes = source.values[rows, at], np.where(some, source.codes[rows, at], MISSING).astype(np.uint8)
        mapped = channels.get(name)
        if mapped is not None:
            values, codes = np.where(some, values, mapped.values), np.where(some, codes, mapped.codes)
        suspect = np.where(some & (source.codes[rows, at] == SUSPECT), at, -1)
        before = np.concatenate([[doubtful.get(name, -1)], suspect[:-1]])
        doubtful[name] = int(suspect[-1])
        died = (before >= 0) & ~usable[rows, before]
        channels[name] = Readings(values, np.where(died, MISSING, codes).astype(np.uint8))
    high, low = channels.get("cell_voltage_max"), channels.get("cell_voltage_min")
    if high is not None and low is not None and SPREAD in profile.by_name:
        codes = np.where(high.usable & low.usable, np.maximum(high.codes, low.codes), MISSING).astype(np.uint8)
        with np.errstate(invalid="ignore"):
            channels[SPREAD] = Readings(np.round(high.values - low.values, 4), codes)


def rows_of(channels: dict[str, Readings]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The chunk as one (channels, quality) pair a row, ready for a Sample."""
    columns: list[tuple[str, list[Any]]] = []
    marks: list[dict[str, str]] = [{} for _ in range(len(next(iter(channels.values())).values))]
    for name, readings in channels.items():
        listed = readings.values.tolist()
        for row in np.nonzero(readings.codes.reshape(len(listed), -1).any(axis=1))[0].tolist():
            listed[row] = _mark(name, listed[row], readings.codes[row], marks[row])
        columns.append((name, listed))
    names = [name for name, _ in columns]
    values = zip(*(column for _, column in columns), strict=True)
    return [(dict(zip(names, row, strict=True)), mark) for row, mark in zip(values, marks, strict=True)]


def _mark(name: str, value: Any, codes: Any, marks: dict[str, str]) -> Any:
    """Note the quality of one row of one channel; return the value with null for what is no reading."""
    if np.ndim(codes) == 0:
        marks[name] = QUALITY[int(codes)]
        return None if codes in (NAN, MISSING) else value
    distinct = set(codes.tolist())
    if len(distinct) == 1:
        marks[name] = QUALITY[distinct.pop()]
    else:
        marks |= {f"{name}[{i}]": QUALITY[c] for i, c in enumerate(codes.tolist()) if c != GOOD}
    return [None if c in (NAN, MISSING) else v for v, c in zip(value, codes.tolist(), strict=True)]


@dataclass(slots=True)
class Chunk:
    """Rows of a recording ready to publish: times [s since 1970], mono [s], and (channels, quality) of each."""

    first: int
    times: list[float]
    mono: list[float]
    rows: list[tuple[dict[str, Any], dict[str, str]]] = field(repr=False)
