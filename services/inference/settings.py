"""Settings of the inference service: section `inference` of the settings file, or EMBERWATCH_BUNDLES."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.bus.errors import ConfigError
from services.bus.settings import ROOT, BusSettings
from services.inference.estimators.chemistry import load_chemistry
from services.inference.estimators.reading import Facts
from services.inference.phase import Cell


class DeviceFacts(BaseModel):
    """What is told of a battery. What is left out is not guessed: what needs it is not estimated."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    chemistry: str | None = Field(
        None, description="NMC (or NMC811, NCM523, ..), NCA, LFP, or a .yaml file like those of chemistries/."
    )
    capacity_ah: float | None = Field(None, gt=0, description="By the name plate [Ah].")
    cells: int | None = Field(
        None, ge=1, le=4096, description="In series; not needed where cell voltages are measured."
    )
    current_offset_a: float | None = Field(
        None, gt=0, description="Greatest zero-current offset of the current sensor [A]; default 0.2 % of the capacity."
    )
    leak_bias_a: float | None = Field(
        None, description="What its charge balance read when it was healthy [A]; default: its first cycles' median."
    )

    @field_validator("chemistry")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                load_chemistry(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class InferenceSettings(BusSettings):
    """What the inference service needs besides its broker."""

    section: ClassVar[str] = "inference"

    bundles: list[Path] = Field(
        [ROOT / "bundles"],
        title="Bundles",
        description="Bundle folders, or folders of bundle folders. Changes are taken over within seconds.",
    )
    references: list[str] = Field(
        [],
        title="References",
        description="Names of the reference bundles (baselines, float forms) that judge beside the detectors. Each "
        "costs its share of the processor and of the store.",
    )
    devices: dict[str, DeviceFacts] = Field(
        default_factory=dict,
        title="Devices",
        description="Chemistry, capacity, .. by device: `{pack-1: {chemistry: NMC, capacity_ah: 150}}`. Bundles for "
        "single cells judge devices of which `cells: 1`, the chemistry and the capacity are told, and no others.",
    )

    def single_cells(self) -> dict[str, Cell]:
        """Devices that are a single cell, as the bundles for those want to know them."""
        return {
            device: Cell(capacity_ah=told.capacity_ah, chemistry=told.chemistry)
            for device, told in self.devices.items()
            if told.cells == 1 and told.capacity_ah is not None and told.chemistry is not None
        }

    def facts(self) -> dict[str, Facts]:
        """What the estimators are told."""
        return {
            device: Facts(
                load_chemistry(told.chemistry) if told.chemistry is not None else None,
                told.capacity_ah,
                told.cells,
                told.current_offset_a,
                told.leak_bias_a,
            )
            for device, told in self.devices.items()
        }
