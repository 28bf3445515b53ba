"""The numbers at the top of the page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.bus.messages import Sample
from services.dashboard.alarms import unit_words
from services.dashboard.staleness import Freshness, duration

AT_REST_A: Final = 0.5  # below it the direction of the current is noise of the sensor


@dataclass(frozen=True, slots=True)
class Tile:
    """One number. `value` None = no reading; `note` stands below it; `mark` names a bad quality."""

    label: str
    value: str | None
    unit: str = ""
    note: str = ""
    mark: str = ""
    stale: bool = False


def battery_tiles(sample: Sample | None, fresh: Freshness) -> list[Tile]:
    """Tiles of profile `battery`, only of channels that the device has."""
    if sample is None:
        return [_age_tile(fresh)]
    values, found, stale = sample.channels, [], not fresh.current

    def add(channel: str, label: str, digits: int, unit: str, scale: float = 1.0, note: str = "") -> None:
        if channel in values:
            value = _scalar(values, channel)
            text = None if value is None else f"{value * scale:z.{digits}f}"
            found.append(Tile(label, text, unit, note, sample.quality.get(channel, ""), stale))

    cells, probes = _vector(values, "cell_voltages"), _vector(values, "temperatures")
    add("voltage", "Voltage", 1, "V")
    add("current", "Current", 1, "A", note=direction(_scalar(values, "current")))
    add("soc", "State of charge", 1, "%", 100)
    add("cell_spread", "Cell spread", 0, "mV", 1000, note=f"{len(cells)} cells" if cells else "")
    add("cell_voltage_max", "Highest cell", 3, "V", note=_where("cell", cells, highest=True))
    add("cell_voltage_min", "Lowest cell", 3, "V", note=_where("cell", cells, highest=False))
    add("temperature_max", "Hottest probe", 1, "°C", note=_where("probe", probes, highest=True))
    add("temperature_min", "Coldest probe", 1, "°C", note=_where("probe", probes, highest=False))
    return [*found, _age_tile(fresh)]


def other_tiles(sample: Sample | None, fresh: Freshness, units: Mapping[str, str]) -> list[Tile]:
    """Tiles of any profile: one a scalar channel. `units`: by channel, from the layout."""
    if sample is None:
        return [_age_tile(fresh)]
    found = []
    for channel, value in sample.channels.items():
        if not isinstance(value, list):
            text = None if value is None else f"{value:.4g}"
            title = channel.replace("_", " ").capitalize()
            mark = sample.quality.get(channel, "")
            found.append(Tile(title, text, unit_words(units.get(channel, "")), "", mark, not fresh.current))
    return [*found, _age_tile(fresh)]


def direction(current: float | None) -> str:
    """In words, since a sign convention is not known to everybody (positive = charging)."""
    if current is None:
        return ""
    if abs(current) < AT_REST_A:
        return "at rest"
    return "charging" if current > 0 else "discharging"


def _age_tile(fresh: Freshness) -> Tile:
    if fresh.age_s is None:
        return Tile("Last sample", None, note="none yet")
    age = f"{fresh.age_s:.1f}" if fresh.age_s < 10 else duration(fresh.age_s)
    unit = "s ago" if fresh.age_s < 10 else "ago"
    note = {"live": "live", "finished": "recording finished", "stale": "stale", "waiting": ""}[fresh.state]
    return Tile("Last sample", age, unit, note, stale=not fresh.current)


def _scalar(values: Mapping[str, object], channel: str) -> float | None:
    value = values.get(channel)
    return value if isinstance(value, float) else None


def _vector(values: Mapping[str, object], channel: str) -> list[float | None]:
    value = values.get(channel)
    return list(value) if isinstance(value, list) else []


def _where(what: str, vector: list[float | None], *, highest: bool) -> str:
    """Which element it is, counted from 1: `cell 71`."""
    known = [(value, i) for i, value in enumerate(vector, 1) if value is not None]
    if not known:
        return ""
    return f"{what} {(max if highest else min)(known, key=lambda pair: pair[0])[1]}"
