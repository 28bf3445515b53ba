"""What the estimators take from a sample: good readings only. Pure."""

from dataclasses import dataclass
from typing import Final

from services.bus.messages import Sample, Value, Values
from services.inference.estimators.chemistry import Chemistry

CELL_MAX_V: Final = 5.5  # a device of more is a series of cells


@dataclass(frozen=True, slots=True)
class Facts:
    """What somebody has told of a device.

    Args:
        chemistry: None = no open-circuit voltage, no full charge is known.
        capacity_ah: by the name plate; None = not known until it is learned.
        cells: in series; None = as many as the layout's vector has, or one.
        offset_a: greatest zero-current offset of the current sensor [A]; None = 0.2 % of the capacity.
        leak_bias_a: what the charge balance of this device read when it was healthy [A]; None = learned.
    """

    chemistry: Chemistry | None = None
    capacity_ah: float | None = None
    cells: int | None = None
    offset_a: float | None = None
    leak_bias_a: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample's good readings; None = there is none.

    Args:
        voltage: of the device [V]. mean, highest: of the cells [V].
        cells: good cell voltages; all_cells: whether none is missing.
    """

    current: float | None
    voltage: float | None
    mean: float | None
    highest: float | None
    cells: list[float] | None
    all_cells: bool
    temperature: float | None
    soc: float | None


def read(sample: Sample, facts: Facts) -> Reading:
    """Take out what is good: whatever carries a mark (fault, range, suspect, estimated) is not used."""
    channels, quality = sample.channels, sample.quality

    def scalar(name: str) -> float | None:
        value = channels.get(name)
        return None if value is None or isinstance(value, list) or name in quality else value

    cells, complete = _vector("cell_voltages", channels.get("cell_voltages"), sample)
    voltage, highest, lowest = scalar("voltage"), scalar("cell_voltage_max"), scalar("cell_voltage_min")
    mean: float | None = None
    if cells is not None:
        mean = sum(cells) / len(cells)
    elif facts.cells is not None:
        mean = None if voltage is None else voltage / facts.cells
    elif highest is not None and lowest is not None:
        mean = (highest + lowest) / 2
    elif voltage is not None and voltage <= CELL_MAX_V:
        mean = voltage
    if highest is None:
        highest = max(cells) if cells is not None else mean
    temperature = scalar("temperature_max")
    if temperature is None:
        probes, _ = _vector("temperatures", channels.get("temperatures"), sample)
        temperature = None if probes is None else max(probes)
    return Reading(
        scalar("current"), mean if voltage is None else voltage, mean, highest, cells, complete, temperature,
        scalar("soc"),
    )  # fmt: skip


def _vector(name: str, values: Values, sample: Sample) -> tuple[list[float] | None, bool]:
    """Good elements, if at least half of them are; and whether all are."""
    if not isinstance(values, list) or name in sample.quality or not values:
        return None, False
    if not sample.quality and None not in values:
        return values, True  # type: ignore[return-value]
    good = [v for i, v in enumerate(values) if _good(v, f"{name}[{i}]", sample)]
    return (good, len(good) == len(values)) if 2 * len(good) >= len(values) else (None, False)  # type: ignore[return-value]


def _good(value: Value, name: str, sample: Sample) -> bool:
    return value is not None and name not in sample.quality
