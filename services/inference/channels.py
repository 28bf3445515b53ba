"""From a sample's channels to the numbers that a bundle wants. Pure."""

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.bus.messages import Channel, Layout, Values
from services.inference.phase import Cell, Phase

SECONDS_PER_HOUR: Final = 3600.0
BAD_QUALITY = ("fault", "range")  # `suspect` and `estimated` values are judged: a suspect one may be the fault itself


class ChannelSpec(BaseModel):
    """One column of a bundle's window: where it comes from, how it is reduced to a step, how it is scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Channel = Field(description="Channel of the profile; a `derived` one may have any name.")
    role: Literal["input", "response"] = Field(description="A response has its share in the score, an input has not.")
    derived: (
        Literal[
            "charge",
            "phase",
            "phase_charge",
            "phase_c_rate",
            "phase_time",
            "phase_log_time",
            "phase_first_voltage",
            "phase_first_c_rate",
            "c_rate",
            "c_rate_average",
            "chemistry",
        ]
        | None
    ) = Field(
        None,
        description="`charge`: Ah counted from `current` since the window's segment began. All others make the bundle "
        "one for a single cell, judged charge by charge and discharge by discharge, by its settings (nominal "
        "capacity, chemistry). `phase`: 1 = charge, -1 = discharge. Since it began: `phase_charge`, moved in its "
        "direction (part of the capacity); `phase_c_rate`, the mean; `phase_time` in s, `phase_log_time`, its natural "
        "logarithm; the `first` step's voltage and C-rate. `c_rate`: the step's; `c_rate_average`: exponential. "
        "`chemistry`: the place in `among`.",
    )
    seconds: float | None = Field(None, gt=0, description="Time constant of a `c_rate_average` [s].")
    among: tuple[str, ...] | None = Field(None, min_length=1, description="Chemistries that the bundle knows.")
    charge_range: tuple[float, float] | None = Field(
        None, description="A window of a charge with a value beyond is not judged: training held nothing like it."
    )
    discharge_range: tuple[float, float] | None = Field(None, description="The same of a discharge.")
    across: Literal["mean"] | None = Field(None, description="How a vector becomes one number.")
    per: Channel | None = Field(None, description="Divide by the number of elements of this vector (V per cell).")
    reduce: Literal["mean", "last"] = Field("mean", description="How samples faster than a step become one.")
    offset: float = Field(description="Scaler: the graph sees (value - offset) / scale.")
    scale: float = Field(gt=0)

    @model_validator(mode="after")
    def _sensible(self) -> "ChannelSpec":
        if self.derived and (self.across or self.per or self.role != "input"):
            raise ValueError(f"{self.name}: a derived {self.derived} is an input and nothing else")
        if self.derived == "charge" and self.name != "charge":
            raise ValueError(f"{self.name}: a derived charge is called so")
        if (self.seconds is not None) != (self.derived == "c_rate_average"):
            raise ValueError(f"{self.name}: `seconds` belongs to a c_rate_average")
        if (self.among is not None) != (self.derived == "chemistry"):
            raise ValueError(f"{self.name}: `among` belongs to a chemistry")
        for limits in (self.charge_range, self.discharge_range):
            if limits is not None and not limits[0] < limits[1]:
                raise ValueError(f"{self.name}: range {limits} is empty")
        return self

    @property
    def of_phase(self) -> bool:
        """It is counted since a charge or discharge began, and needs the cell's settings."""
        return self.derived is not None and self.derived != "charge"


class ChannelReader:
    """Reads a bundle's columns from samples of one layout.

    Args:
        specs: the bundle's columns in order.
        layout: of the device.
    Raises:
        ValueError: the device does not measure a channel that the bundle needs.
    """

    def __init__(self, specs: Sequence[ChannelSpec], layout: Layout) -> None:
        lengths = {channel.name: channel.length for channel in layout.channels}
        self._columns: list[tuple[str, int | None, float]] = []  # name ("" = derived), vector length, factor
        for spec in specs:
            if spec.derived:
                self._columns.append(("", None, 0.0))
                continue
            if spec.name not in lengths:
                raise ValueError(f"the device does not measure {spec.name}")
            length = lengths[spec.name]
            if (length is None) == (spec.across is not None):
                raise ValueError(f"{spec.name}: the layout and the bundle disagree whether it is a vector")
            factor = 1.0
            if spec.per is not None:
                elements = lengths.get(spec.per)
                if elements is None:
                    raise ValueError(f"the number of {spec.per} is not in the layout")
                factor = 1.0 / elements
            self._columns.append((spec.name, length, factor))

    def read(self, channels: Mapping[str, Values], quality: Mapping[str, str]) -> list[float | None]:
        """One number a column; None where nothing true was read (and for the derived ones)."""
        bad = {name for name, mark in quality.items() if mark.startswith(BAD_QUALITY)} if quality else quality
        row: list[float | None] = []
        for name, length, factor in self._columns:
            value = channels.get(name)
            if value is None or name in bad:
                row.append(None)
            elif length is None:
                row.append(None if isinstance(value, list) else value * factor)
            elif isinstance(value, list) and len(value) == length:
                row.append(_mean(name, value, bad))
            else:
                row.append(None)
        return row


def _mean(name: str, values: list[float | None], bad: object) -> float | None:
    """Mean of the true elements; None when fewer than half are true."""
    if not bad:
        try:
            return sum(values) / len(values)  # type: ignore[arg-type]  # a None raises, and is rare
        except TypeError:
            pass
    names = bad if isinstance(bad, set) else set()
    true = [v for i, v in enumerate(values) if v is not None and f"{name}[{i}]" not in names]
    return sum(true) / len(true) if 2 * len(true) >= len(values) else None


class PhaseReader:
    """The columns of a bundle that come from where a step stands in its phase.

    Raises:
        ValueError: the bundle does not know the cell's chemistry.
    """

    def __init__(self, specs: Sequence[ChannelSpec], cell: Cell) -> None:
        self.seconds = [spec.seconds for spec in specs if spec.seconds is not None]
        self._columns: list[tuple[int, Callable[[Phase], float]]] = []
        averages = 0
        for column, spec in enumerate(specs):
            if not spec.of_phase:
                continue
            if spec.among is not None:
                if cell.chemistry not in spec.among:
                    raise ValueError(f"chemistry {cell.chemistry} is not among {', '.join(spec.among)}")
                self._columns.append((column, _constant(float(spec.among.index(cell.chemistry)))))
            elif spec.seconds is not None:
                self._columns.append((column, _average(averages)))
                averages += 1
            else:
                self._columns.append((column, PHASE_COLUMNS[str(spec.derived)]))

    def fill(self, values: list[float], phase: Phase) -> None:
        """Put this step's numbers into their columns."""
        for column, number in self._columns:
            values[column] = number(phase)


def _constant(value: float) -> Callable[[Phase], float]:
    return lambda phase: value


def _average(place: int) -> Callable[[Phase], float]:
    return lambda phase: phase.count.averages[place]


PHASE_COLUMNS: Final[Mapping[str, Callable[[Phase], float]]] = {
    "phase": lambda phase: float(phase.direction),
    "phase_charge": lambda phase: phase.count.charge * phase.direction,
    "phase_c_rate": lambda phase: phase.count.charge / phase.count.time_s * SECONDS_PER_HOUR,
    "phase_time": lambda phase: phase.count.time_s,
    "phase_log_time": lambda phase: log(phase.count.time_s),
    "phase_first_voltage": lambda phase: phase.count.first_voltage,
    "phase_first_c_rate": lambda phase: phase.count.first_c_rate,
    "c_rate": lambda phase: phase.c_rate,
}
