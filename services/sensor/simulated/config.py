"""The file of the simulated source: packs, what is asked of them, and what fails in them when.

    seed: 7                     # of spread, sensors' errors and traffic; another number is another pack
    packs:
      pack-1:                   # the device's name
        cells: 96
        capacity_ah: 5          # of a cell; the smaller, the sooner a short is seen
        soc: 0.6
        ambient: 20             # degC
        day:                    # begins again when it is over
          - {do: drive, road: town, minutes: 15}
          - {do: charge, c_rate: 0.5, minutes: 30}
          - {do: rest, minutes: 5}
        faults:
          - {kind: internal_short, size: 10, cell: 41, begins_s: 120, grows_s: 300}   # ohm

Kinds and units of faults: faults.py.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.bus.errors import ConfigError
from services.bus.settings import read_yaml
from services.bus.topics import NODE_DEVICE, check_name
from services.sensor.simulated.duty import Driver
from services.sensor.simulated.faults import Fault, Kind, Sensor

SHORT_LEAST: Final = 0.5  # ohm Ah: below it a cell's own resistance decides, which a step does not resolve
ROADS: Final = {"town": 0.0, "country": 1.0, "motorway": 2.0}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Phase(_Part):
    minutes: float = Field(gt=0, le=10_000)


class Drive(_Phase):
    do: Literal["drive"]
    road: Literal["town", "country", "motorway"] = "town"
    haste: float = Field(0.4, ge=0, le=1, description="0 gentle .. 1 brisk.")

    @property
    def driver(self) -> Driver:
        return Driver(ROADS[self.road], self.haste)


class Charge(_Phase):
    do: Literal["charge"]
    c_rate: float = Field(0.3, gt=0, le=2)
    until_v: float = Field(4.15, ge=3.5, le=4.2, description="Of the highest cell; then the current falls.")


class Rest(_Phase):
    do: Literal["rest"]


Phase = Annotated[Drive | Charge | Rest, Field(discriminator="do")]


class PlannedFault(_Part):
    """A fault and when it comes. Counted from the start of the service."""

    kind: Kind
    size: float
    cell: int = Field(0, ge=0, description="The cell; of a drift of a probe, the probe.")
    sensor: Sensor = "cell"
    begins_s: float = Field(0.0, ge=0)
    grows_s: float = Field(0.0, ge=0, description="From begin to full size; a short's conductance grows evenly.")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _ = self.fault  # raises
        return self

    @property
    def fault(self) -> Fault:
        return Fault(self.kind, self.size, self.cell, self.sensor)

    def grown(self, elapsed_s: float) -> float:
        """Share of its size, 0..1."""
        if elapsed_s < self.begins_s:
            return 0.0
        return 1.0 if self.grows_s == 0 else min(1.0, (elapsed_s - self.begins_s) / self.grows_s)


class PackConfig(_Part):
    """A pack of `cells` in series."""

    cells: int = Field(96, ge=1, le=400)
    probes: int = Field(24, ge=1, le=400, description="DS18B20, spread evenly over the cells.")
    capacity_ah: float = Field(5.0, gt=0, le=1000, description="Of each cell, new.")
    health: float = Field(0.95, ge=0.5, le=1.0, description="Share of the capacity that is left.")
    spread: float = Field(0.005, ge=0, le=0.05, description="Between cells: relative sd of capacity.")
    soc: float = Field(0.6, ge=0.05, le=1.0)
    ambient: float = Field(20.0, ge=-30, le=50, description="degC.")
    cooling_minutes: float = Field(30.0, gt=0, le=1000, description="In which a cell comes 63 % nearer to the air.")
    day: tuple[Phase, ...] = Field(
        (
            Drive(do="drive", minutes=20, road="country"),
            Rest(do="rest", minutes=3),
            Charge(do="charge", minutes=30, c_rate=0.5),
            Rest(do="rest", minutes=3),
        ),
        min_length=1,
    )
    faults: tuple[PlannedFault, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.probes > self.cells:
            raise ValueError(f"{self.probes} probes on {self.cells} cells")
        for fault in self.faults:
            probe = fault.kind == "sensor_drift" and fault.sensor == "probe"
            count, what = (self.probes, "probes") if probe else (self.cells, "cells")
            if fault.cell >= count:
                raise ValueError(f"{fault.kind} in {fault.cell}, there are {what} 0 to {count - 1}")
            if fault.kind == "internal_short" and fault.size * self.capacity_ah < SHORT_LEAST:
                least = SHORT_LEAST / fault.size
                raise ValueError(f"a short of {fault.size:g} ohm needs cells of {least:g} Ah or more")
        return self


class SimulationConfig(_Part):
    """The whole file."""

    seed: int = Field(1, ge=0)
    period_s: float = Field(1.0, ge=0.1, le=60, description="Between readings.")
    packs: dict[str, PackConfig] = Field(min_length=1)

    @field_validator("packs")
    @classmethod
    def _names(cls, value: dict[str, PackConfig]) -> dict[str, PackConfig]:
        for name in value:
            check_name("device", name)
            if name == NODE_DEVICE:
                raise ValueError(f"{name!r} is reserved for the node itself")
        return value


def load_config(path: Path | None) -> SimulationConfig:
    """None = one healthy pack. Raises ConfigError naming file and key."""
    if path is None:
        return SimulationConfig(packs={"pack-1": PackConfig()})
    try:
        return SimulationConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(str(path), key or "file", first["msg"]) from None
