"""Settings of the inference service: section `inference` of the settings file, or EMBERWATCH_BUNDLES."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from services.bus.settings import ROOT, BusSettings
from services.inference.phase import Cell


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
    cells: dict[str, Cell] = Field(
        {},
        title="Cells",
        description="Devices that are a single cell, by name: nominal capacity and chemistry. Bundles for cells judge "
        "these and no others.",
    )
