"""What a BMS said (a BMSSample of aiobmsble) -> channels of the battery profile. Pure.

aiobmsble gives V, A (positive = charging), percent and degC. It leaves out cells and probes of which the BMS sends zero
(a torn sense wire, an open probe), and those after them move up. So a list that is too short keeps what it has, for the
extremes are true, and its end is a fault: which of the elements is gone is not known, only that one is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.bus.messages import Values
from services.sensor.bms.config import Pack
from services.sensor.source import Device

NUMBER, SHAPE = "no_number", "wrong_length"
START_S: Final = 30.0  # to hear, connect and read for the first time
CELL_PROBES: Final = frozenset({"GENERIC", "CELL"})  # kinds of probes; the others sit on the BMS's own board
PERCENT: Final = 100.0
LARGEST: Final = 1e9  # of any number that is one
_KEYS: Final[dict[str, str]] = {"voltage": "voltage", "current": "current", "soc": "battery_level"}
CELLS, PROBES = "cell_voltages", "temperatures"


@dataclass(frozen=True, slots=True)
class Found:
    """What one sample says: `channels` and `faults` as a Reading has them; every channel of the device is in them."""

    channels: dict[str, Values]
    faults: dict[str, str]


def device_of(pack: Pack) -> Device:
    vectors = {CELLS: pack.cells, PROBES: pack.probes}
    channels: dict[str, int | None] = dict.fromkeys(pack.channels)
    channels |= {name: count for name, count in vectors.items() if count}
    return Device("battery", channels, pack.period_s, start_s=START_S)


def read(sample: Mapping[str, Any], pack: Pack) -> Found:
    channels: dict[str, Values] = {}
    faults: dict[str, str] = {}
    for name in pack.channels:
        try:
            channels[name] = _scalar(name, sample.get(_KEYS[name]), pack)
        except ValueError as error:
            faults[name] = str(error)
    if pack.cells:
        _vector(CELLS, cells_of(sample), pack.cells, channels, faults)
    if pack.probes:
        _vector(PROBES, probes_of(sample), pack.probes, channels, faults)
    if any(name.startswith(CELLS) for name in faults) and _is_sum(channels.get("voltage"), cells_of(sample)):
        faults["voltage"] = SHAPE  # added up from cells of which one is gone
    return Found(channels, faults)


def cells_of(sample: Mapping[str, Any]) -> Sequence[Any]:
    return _list(sample, "cell_voltages")


def probes_of(sample: Mapping[str, Any]) -> Sequence[Any]:
    """The probes on cells, in the BMS's order; those of all packs of a BMS that has several."""
    told = _list(sample, "temp_values") or [t for part in _list(sample, "packs") for t in _list(part, "temp_values")]
    return [getattr(probe, "value", probe) for probe in told if _on_cells(probe)]


def _list(sample: Mapping[str, Any], key: str) -> Sequence[Any]:
    told = sample.get(key)
    return told if isinstance(told, list) else []


def _on_cells(probe: Any) -> bool:
    kind = getattr(probe, "type", None)
    return kind is None or kind.name in CELL_PROBES


def _scalar(name: str, raw: Any, pack: Pack) -> float | None:
    value = _number(raw)
    if value is None:
        return None
    if name == "soc":
        return value / PERCENT
    return -value if name == "current" and pack.invert_current else value


def _vector(name: str, told: Sequence[Any], count: int, channels: dict[str, Values], faults: dict[str, str]) -> None:
    if len(told) > count:  # the file is wrong: what is which cannot be said
        faults[name] = SHAPE
        return
    values: list[float | None] = []
    for i, raw in enumerate(told):
        try:
            values.append(_number(raw))
        except ValueError as error:
            values.append(None)
            faults[f"{name}[{i}]"] = str(error)
    channels[name] = values + [None] * (count - len(told))
    faults |= {f"{name}[{i}]": SHAPE for i in range(len(told), count)}


def _number(raw: Any) -> float | None:
    """None = no reading. Raises ValueError."""
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not abs(raw) <= LARGEST:
        raise ValueError(NUMBER)
    return float(raw)


def _is_sum(voltage: Values, cells: Sequence[Any]) -> bool:
    """As aiobmsble adds it up where a BMS tells no voltage."""
    try:
        return len(cells) > 0 and voltage == round(sum(cells), 3)
    except (TypeError, ValueError, OverflowError):
        return False
