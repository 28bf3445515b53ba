"""Payloads of other people's topics -> channels. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.sensor.mqtt.config import CELL, MappedDevice, TopicMap, Value
from services.sensor.source import Device

JSON, TEXT, SHAPE = "json", "no_number", "wrong_length"
MAX_PAYLOAD: Final = 1_000_000  # bytes; a pack's cells are some kilobytes


@dataclass(frozen=True, slots=True)
class Found:
    """What one message says: `channels` and `faults` as a Reading has them."""

    channels: dict[str, Any]
    faults: dict[str, str]


class DeviceMap:
    """One device's topics.

    Raises:
        ValueError: a placeholder without a value, a value without a placeholder, or cells that are not counted.
    """

    def __init__(self, topic_map: TopicMap, device: MappedDevice) -> None:
        given, wanted = set(device.values), topic_map.placeholders
        if given != wanted:
            problem = [f"missing {', '.join(sorted(wanted - given))}"] if wanted - given else []
            problem += [f"unknown {', '.join(sorted(given - wanted))}"] if given - wanted else []
            raise ValueError(f"values: {'; '.join(problem)}")
        self._map, self._given = topic_map, device
        self._lengths: dict[str, int | None] = {}
        self.topics: dict[str, dict[str, Value]] = {}
        for pattern, channels in topic_map.topics.items():
            for number, topic in self._filled(pattern):
                named = {channel.replace("[]", f"[{number}]"): value for channel, value in channels.items()}
                self.topics.setdefault(topic, {}).update(named)
            for channel in channels:
                self._declare(channel)
        self._unmapped()

    def _unmapped(self) -> None:
        unknown = sorted(set(self._given.vectors) - {name for name, length in self._lengths.items() if length})
        if unknown:
            raise ValueError(f"vectors: {', '.join(unknown)}: not in the map")

    def _declare(self, channel: str) -> None:
        name, bracket, index = channel.rstrip("]").partition("[")
        if not bracket:
            self._lengths[name] = self._given.vectors.get(name)
        elif not index:
            self._lengths[name] = self._cells()
        else:
            self._lengths[name] = max(self._lengths.get(name) or 0, int(index) + 1)

    def _cells(self) -> int:
        if self._given.cells is None:
            raise ValueError("cells: the map tells values cell by cell; say how many there are")
        return self._given.cells

    def _filled(self, pattern: str) -> Iterator[tuple[int, str]]:
        """The topic with its values, once, or for each cell: (cell from 0, topic)."""
        cells = self._cells() if f"{{{CELL}}}" in pattern else 1
        for number in range(cells):
            yield number, pattern.format_map({**self._given.values, CELL: number + 1})

    def asks(self) -> Iterator[tuple[float, str, bytes]]:
        """(every so many seconds, topic, payload) of what is to be published."""
        for ask in self._map.ask:
            for _, topic in self._filled(ask.topic):
                yield ask.every_s, topic, ask.payload.encode()

    @property
    def device(self) -> Device:
        return Device(
            self._map.profile,
            self._lengths,
            self._map.period_s,
            self._map.max_age_s,
            {name: age for name, age in self._map.ages_s.items() if name in self._lengths},
            start_s=self._map.max_age_s,
        )

    def read(self, topic: str, payload: bytes) -> Found:
        """What a message of one of our topics says; what cannot be read is a fault of each channel in it."""
        wanted = self.topics[topic]
        try:
            if len(payload) > MAX_PAYLOAD:
                raise ValueError
            content = orjson.loads(payload)
        except ValueError:  # orjson's error is one
            return Found({}, dict.fromkeys(wanted, JSON))
        channels: dict[str, Any] = {}
        faults: dict[str, str] = {}
        for channel, value in wanted.items():
            raw = pick(content, value.path)
            try:
                channels[channel] = self._scaled(channel, raw, value)
            except ValueError as error:
                faults[channel] = str(error)
        return Found(channels, faults)

    def _scaled(self, channel: str, raw: Any, value: Value) -> Any:
        length = self._lengths.get(channel)
        if length is None or raw is None:
            return number(raw, value)
        if not isinstance(raw, list):
            raise ValueError(TEXT)
        if len(raw) != length:
            raise ValueError(SHAPE)
        return [number(element, value) for element in raw]


def pick(content: Any, path: str) -> Any:
    """The value at `a.b[2]`; None when it is not there."""
    for step in path.split(".") if path else ():
        name, *indices = step.replace("]", "").split("[")
        content = content.get(name) if isinstance(content, dict) else None
        for index in indices:
            content = content[int(index)] if isinstance(content, list) and int(index) < len(content) else None
    return content


def number(raw: Any, value: Value) -> float | None:
    """In the profile's unit; None = no reading. Raises ValueError: no number."""
    if raw is None:
        return None
    if isinstance(raw, str):
        try:
            raw = float(raw)
        except ValueError:
            raise ValueError(TEXT) from None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(TEXT)
    if raw in value.missing or not math.isfinite(raw):
        return None
    return float(raw) * value.scale + value.offset
