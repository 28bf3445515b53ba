"""The node as GATT services: its characteristics and their bytes. Pure; docs/ble.md is checked against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from services.alert.lcd import Entry, View
from services.alert.outputs.ble import alarms
from services.alert.outputs.ble import bytes as sig
from services.alert.outputs.ble.bthome import Readings
from services.bus.messages import SEVERITIES

PROBES: Final = 12  # temperatures that are told one by one, of all devices together
DESCRIPTION: Final = "2901"
_HEALTH: Final = ("soh", "temperature_max")
Channels = Mapping[str, object]
Write = Literal["acknowledge", "clock"]


def ours(number: int) -> str:
    """A UUID of our own."""
    return f"c6cd{number:04x}-0935-450c-92b4-9318987f21b6"


@dataclass(frozen=True, slots=True)
class Characteristic:
    """Args: value: None = unknown, a read is refused; about: for people (descriptor 2901); write: what a write does."""

    uuid: str
    name: str
    flags: tuple[str, ...]
    value: bytes | None
    about: str = ""
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Service:
    uuid: str
    name: str
    characteristics: tuple[Characteristic, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """Args: name: in topics; model: of the computer; secure: acknowledging needs an authenticated pairing."""

    name: str
    model: str
    version: str
    secure: bool

    @property
    def write(self) -> str:
        """The flag of a characteristic that only a paired phone may write."""
        return "encrypt-authenticated-write" if self.secure else "encrypt-write"


@dataclass(slots=True)
class Tree:
    """The attributes of a node. Devices stay in it when they fall silent: their values are unknown then."""

    node: Node
    changes: int = 0  # of the alarms, so far
    _alarmed: tuple[tuple[str, int, str], ...] = ()
    _known: dict[str, dict[str, int | None]] = field(default_factory=dict)  # device -> channels, lengths of vectors

    def services(self, view: View, time: datetime) -> list[Service]:
        """All services, always in the same order. Args: time: local."""
        for device, channels in view.readings:
            shape = self._known.setdefault(device, {})
            for name, value in (channels or {}).items():
                shape[name] = len(value) if isinstance(value, list) else None
        alarmed = tuple((e.occurrence, e.revision, e.state) for e in view.alarms)
        if alarmed != self._alarmed:
            self.changes, self._alarmed = self.changes + 1, alarmed
        readings: dict[str, Channels] = {device: channels or {} for device, channels in view.readings}
        found = [self._information(), self._clock(time)]
        for device, shape in self._known.items():
            if "soc" in shape:
                found.append(
                    _battery(device, readings.get(device, {}), not shape.keys().isdisjoint(_HEALTH), _of(view, device))
                )
        probes = self._probes(readings)
        if probes:
            found.append(Service("181a", "Environmental Sensing", probes))
        return [*found, self._alarms(view, readings)]

    def _information(self) -> Service:
        texts = (
            ("2a29", "Manufacturer Name", "Emberwatch"),
            ("2a24", "Model Number", self.node.model),
            ("2a25", "Serial Number", self.node.name),
            ("2a28", "Software Revision", self.node.version),
        )
        fixed = tuple(Characteristic(uuid, name, ("read",), sig.text(value)) for uuid, name, value in texts)
        return Service("180a", "Device Information", fixed)

    def _clock(self, time: datetime) -> Service:
        flags = ("read", self.node.write)
        return Service(
            "1805",
            "Current Time",
            (Characteristic("2a2b", "Current Time", flags, sig.current_time(time), "local time", "clock"),),
        )

    def _probes(self, readings: Mapping[str, Channels]) -> tuple[Characteristic, ...]:
        found: list[tuple[str, float | None]] = []
        for device, shape in self._known.items():
            channels = readings.get(device, {})
            names = ("temperature_max", "temperature_min", "temperature")
            found += [(f"{device} {name}", _number(channels, name)) for name in names if name in shape]
            values = channels.get("temperatures")
            for i in range(shape.get("temperatures") or 0):
                value = values[i] if isinstance(values, list) and i < len(values) else None
                found.append((f"{device} temperatures[{i}]", value if isinstance(value, int | float) else None))
        return tuple(
            Characteristic("2a6e", "Temperature", ("read", "notify"), sig.temperature(value), about)
            for about, value in found[:PROBES]
        )

    def _alarms(self, view: View, readings: Mapping[str, Channels]) -> Service:
        told = ("read", "notify")
        electrical = tuple(
            Characteristic(
                ours(6),
                "Electrical",
                told,
                alarms.electrical(
                    *(_number(readings.get(device, {}), name) for name in ("voltage", "current")),
                    *(_number(readings.get(device, {}), f"cell_voltage_{end}") for end in ("max", "min")),
                ),
                device,
            )
            for device, shape in self._known.items()
            if "voltage" in shape
        )
        return Service(
            ours(1),
            "Emberwatch",
            (
                Characteristic(ours(2), "Alarm Summary", told, alarms.summary(view.alarms, self.changes)),
                Characteristic(ours(3), "Alarm", told, alarms.first(view.alarms)),
                Characteristic(ours(4), "Alarm List", ("read",), alarms.listing(view.alarms)),
                Characteristic(ours(5), "Acknowledge", (self.node.write,), None, write="acknowledge"),
                *electrical,
            ),
        )


def readings(view: View) -> Readings:
    """What is advertised: of several devices the emptiest, the hottest, and the electrical readings of an only one."""
    known = [channels or {} for _, channels in view.readings]
    soc = [v for c in known if (v := _number(c, "soc")) is not None]
    hot = [v for c in known for name in ("temperature_max", "temperature") if (v := _number(c, name)) is not None]
    only: Channels = known[0] if len(known) == 1 else {}
    return Readings(
        min(soc, default=None),
        max(hot, default=None),
        _number(only, "voltage"),
        _number(only, "current"),
        any(e.channel.startswith("temperature") for e in view.alarms),
        bool(view.alarms),
        _worst(view.alarms) >= SEVERITIES.index("high"),
    )


def _battery(device: str, channels: Channels, health: bool, alarms_: Sequence[Entry]) -> Service:
    soc, current = _number(channels, "soc"), _number(channels, "current")
    worst = _worst(alarms_)
    critical = worst >= SEVERITIES.index("critical")
    status = sig.battery_level_status(soc, current, worst >= SEVERITIES.index("high"), critical)
    low = soc is not None and soc <= sig.CRITICAL
    told = ("read", "notify")
    found = [
        Characteristic("2a19", "Battery Level", told, sig.battery_level(soc), device),
        Characteristic("2bed", "Battery Level Status", told, status, device),
        Characteristic(
            "2be9", "Battery Critical Status", ("read", "indicate"), sig.battery_critical_status(low, critical), device
        ),
    ]
    if health:
        value = sig.battery_health_status(_number(channels, "soh"), _number(channels, "temperature_max"))
        found.append(Characteristic("2bea", "Battery Health Status", told, value, device))
    return Service("180f", "Battery", tuple(found))


def _of(view: View, device: str) -> list[Entry]:
    return [entry for entry in view.alarms if entry.device == device]


def _worst(entries: Sequence[Entry]) -> int:
    return max((SEVERITIES.index(e.severity) for e in entries), default=-1)


def _number(channels: Channels, name: str) -> float | None:
    value = channels.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
