"""Readings of a live source gathered into rows. Pure: times are given.

Each reading is judged once, when it comes (readings.py: range, jumps), and stands in the rows while it is fresh. A
reading that is too old is `fault:stale`, never a repeat; one that never came is `fault:no_reading`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bus.messages import Layout, Values
from services.bus.profiles import Profile
from services.sensor.readings import GOOD, MISSING, NAN, QUALITY, Floats, Judge, Readings, derive, with_derived
from services.sensor.resting import Resting
from services.sensor.source import Device, Reading

_KEY: Final = re.compile(r"([a-z][a-z0-9_]*)(?:\[(\d+)\])?")
_REASON: Final = re.compile(r"[a-z0-9_]{1,34}")
FRESH_PERIODS: Final = 2.0
LEAST_PERIOD_S: Final = 0.01


@dataclass(slots=True)
class _Channel:
    """The last reading of each element of a channel (a scalar has one)."""

    judge: Judge
    vector: bool
    max_age_s: Floats
    values: Floats
    codes: NDArray[np.uint8]
    at: Floats  # when it was read; -inf: never
    reasons: list[str | None] = field(default_factory=list)


class Rows:
    """Gathers the readings of one device.

    Raises:
        ValueError: the device names a channel that the profile does not have, mixes up scalar and vector, or has a
            period below 10 ms, or a rest that nobody can tell.
    """

    def __init__(self, device: Device, profile: Profile) -> None:
        self.device, self._profile = device, profile
        self.period_s = profile.period_s if device.period_s is None else device.period_s
        if not self.period_s >= LEAST_PERIOD_S:
            raise ValueError(f"a period of {self.period_s} s is shorter than {LEAST_PERIOD_S} s")
        present = with_derived(device.channels, profile)
        self.layout: Layout = profile.layout(present, self.period_s)
        self._channels = {name: self._channel(name, length) for name, length in device.channels.items()}
        self._doubtful: dict[str, int] = {}
        self._resting = Resting(device.rest, self._units()) if device.rest is not None else None
        self.rest_s: float | None = None  # announced with the last row
        self._woke: float | None = None
        self._rested_s = 0.0

    def _units(self) -> dict[str, str]:
        return {name: self._profile.by_name[name].unit for name in self.device.channels}

    def _channel(self, name: str, length: int | None) -> _Channel:
        count, device = length or 1, self.device
        default = device.ages.get(name, device.max_age_s or FRESH_PERIODS * self.period_s)
        return _Channel(
            Judge(self._profile.by_name[name]),
            length is not None,
            np.array([device.ages.get(f"{name}[{i}]", default) for i in range(count)]),
            np.full(count, np.nan),
            np.full(count, NAN, np.uint8),
            np.full(count, -np.inf),
            ["no_reading"] * count,
        )

    def take(self, reading: Reading) -> tuple[bool, list[str]]:
        """Take a reading. Returns whether it speaks of every channel, and what it says of none that we know."""
        said: dict[str, dict[int, float]] = {}
        reasons: dict[str, dict[int, str]] = {}
        strange = [key for key, value in reading.channels.items() if not self._say(key, value, said)]
        for key, reason in reading.faults.items():
            elements = self._elements(key)
            if elements is None:
                strange.append(key)
                continue
            name, indices = elements
            kept = reason if _REASON.fullmatch(reason) else "unknown"
            reasons.setdefault(name, {}).update(dict.fromkeys(indices, kept))
            said.setdefault(name, {}).update(dict.fromkeys(indices, np.nan))
        for name, elements_said in said.items():
            channel = self._channels[name]
            self._keep(channel, elements_said, reasons.get(name, {}), reading.mono)
            if self._resting is not None:
                read = np.isfinite(channel.at)  # elements that have not come yet say nothing
                good = bool((channel.codes[read] == GOOD).all())
                self._resting.take(reading.mono, name, channel.values, good=good)
        whole = all(len(said.get(name, ())) == len(c.values) for name, c in self._channels.items())
        return whole, strange

    def _elements(self, key: str) -> tuple[str, range] | None:
        matched = _KEY.fullmatch(key)
        channel = self._channels.get(matched[1]) if matched else None
        if matched is None or channel is None:
            return None
        if matched[2] is None:
            return matched[1], range(len(channel.values))
        index = int(matched[2])
        return (matched[1], range(index, index + 1)) if channel.vector and index < len(channel.values) else None

    def _say(self, key: str, value: Values, said: dict[str, dict[int, float]]) -> bool:
        elements = self._elements(key)
        if elements is None:
            return False
        name, indices = elements
        single = not self._channels[name].vector or key.endswith("]")
        if single == isinstance(value, list) and value is not None:
            return False
        values = value if isinstance(value, list) else [value] * len(indices)
        if len(values) != len(indices):
            return False
        said.setdefault(name, {}).update(
            (i, np.nan if v is None else float(v)) for i, v in zip(indices, values, strict=True)
        )
        return True

    @staticmethod
    def _keep(channel: _Channel, said: dict[int, float], reasons: dict[int, str], mono: float) -> None:
        raw = np.full(len(channel.values), np.nan)
        for i, value in said.items():
            raw[i] = value
        shaped = raw[None, :] if channel.vector else raw
        judged = channel.judge(shaped, np.array([mono]))
        values, codes = judged.values.reshape(-1), judged.codes.reshape(-1)
        for i, value in said.items():
            channel.values[i], channel.codes[i], channel.at[i] = values[i], codes[i], mono
            # null is a source's own word for `no reading`; inf is a number that is none
            channel.reasons[i] = reasons.get(i, "missing" if np.isnan(value) else None)

    @property
    def due_s(self) -> float:
        """Time between rows now [s]."""
        return self.rest_s or self.period_s

    def wakes(self, mono: float) -> bool:
        """Whether a rest that was announced is over; it is, then. What was read in it stays fresh for a while."""
        if self.rest_s is None or self._resting is None or self._resting.period_s(mono) is not None:
            return False
        self._woke, self._rested_s, self.rest_s = mono, FRESH_PERIODS * self.rest_s, None
        return True

    def look(self, mono: float, quality: Mapping[str, str]) -> float | None:
        """A row of this quality is due: the time until the next if the device rests [s], else None."""
        if self._resting is not None:
            if quality:
                self._resting.disturb(mono)
            self.wakes(mono)
            self.rest_s = self._resting.period_s(mono)
        return self.rest_s

    def _stale(self, channel: _Channel, mono: float) -> NDArray[np.bool_]:
        """A reading of a rest is good for two of its periods; when it ends, as if it had been read then."""
        ages, limits = mono - channel.at, channel.max_age_s
        if self.rest_s is not None:
            return np.asarray(ages > np.maximum(limits, FRESH_PERIODS * self.rest_s), np.bool_)
        if self._woke is None:
            return np.asarray(ages > limits, np.bool_)
        kept = (self._woke - channel.at <= self._rested_s) & (channel.at <= self._woke)
        return np.asarray((ages > limits) & ~(kept & (mono - self._woke <= limits)), np.bool_)

    def row(self, mono: float) -> tuple[dict[str, Any], dict[str, str]]:
        """The device's channels and their quality at `mono`, as a Sample has them."""
        judged: dict[str, Readings] = {}
        for name, channel in self._channels.items():
            stale = self._stale(channel, mono)
            codes = np.where(stale, NAN, channel.codes).astype(np.uint8)
            shape = (1, -1) if channel.vector else (-1,)
            judged[name] = Readings(channel.values.copy().reshape(shape), codes.reshape(shape))
            for i in np.nonzero(stale & np.isfinite(channel.at))[0].tolist():
                channel.reasons[i] = "stale"
        derive(judged, self._profile, self._doubtful)
        channels: dict[str, Any] = {}
        quality: dict[str, str] = {}
        for c in self.layout.channels:
            channels[c.name] = self._mark(c.name, judged[c.name], quality)
        return channels, quality

    def _mark(self, name: str, readings: Readings, quality: dict[str, str]) -> Any:
        values, codes = readings.values.reshape(-1).tolist(), readings.codes.reshape(-1).tolist()
        reasons = self._reasons(name, readings)
        shown = [None if code in (NAN, MISSING) else value for value, code in zip(values, codes, strict=True)]
        marks = [
            f"fault:{reason}" if code == NAN and reason else QUALITY.get(code)
            for code, reason in zip(codes, reasons, strict=True)
        ]
        if codes and any(code != GOOD for code in codes):
            if len(set(marks)) == 1:
                quality[name] = str(marks[0])
            else:
                quality.update((f"{name}[{i}]", mark) for i, mark in enumerate(marks) if mark is not None)
        return shown if readings.values.ndim == 2 else shown[0]

    def _reasons(self, name: str, readings: Readings) -> list[str | None]:
        channel = self._channels.get(name)
        return channel.reasons if channel is not None else [None] * readings.values.size
