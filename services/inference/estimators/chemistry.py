"""Open-circuit voltage of a chemistry over state of charge, with its error: chemistries/*.yaml. Pure but for `load`."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.bus.errors import ConfigError
from services.bus.settings import ROOT, read_yaml

FOLDER: Final = ROOT / "services" / "inference" / "chemistries"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")
    title: str
    source: str = Field(min_length=10)
    full_v: float = Field(gt=0, description="A charger's constant voltage, a cell [V].")
    empty_v: float = Field(gt=0, description="A discharge that stops below has emptied the cell [V under load].")
    rest_s: float = Field(gt=0, description="After so long without current the voltage is near the open-circuit one.")
    soc: tuple[float, ...] = Field(min_length=5)
    ocv: tuple[float, ...]
    error: tuple[float, ...] = Field(description="Standard deviation between makes and of hysteresis [V].")

    @model_validator(mode="after")
    def _curves(self) -> Self:
        for name, curve in (("ocv", self.ocv), ("error", self.error)):
            if len(curve) != len(self.soc):
                raise ValueError(f"{name}: {len(curve)} values for {len(self.soc)} of soc")
        for name, curve in (("soc", self.soc), ("ocv", self.ocv)):
            if any(b <= a for a, b in pairwise(curve)):
                raise ValueError(f"{name}: must rise from value to value")
        if (self.soc[0], self.soc[-1]) != (0.0, 1.0):
            raise ValueError("soc: must go from 0 to 1")
        if min(self.error) <= 0:
            raise ValueError("error: must be above 0")
        return self


@dataclass(frozen=True, slots=True)
class Chemistry:
    """A cell's open-circuit voltage.

    Args:
        full_v: constant voltage of its chargers [V a cell].
        empty_v: a discharge that stops below has emptied it [V a cell, under load].
        rest_s: least rest before its voltage counts as open-circuit [s].
        soc, ocv, error: the table: 0..1, V, V.
    """

    name: str
    full_v: float
    empty_v: float
    rest_s: float
    soc: Sequence[float]
    ocv: Sequence[float]
    error: Sequence[float]

    def voltage_at(self, soc: float) -> float:
        """Open-circuit voltage of a cell [V]."""
        return _interpolate(self.soc, self.ocv, soc)

    def error_at(self, soc: float) -> float:
        """Standard error of that voltage [V]."""
        return _interpolate(self.soc, self.error, soc)

    def soc_at(self, voltage: float) -> float:
        """State of charge of a rested cell, 0..1; outside of the table its border."""
        return _interpolate(self.ocv, self.soc, voltage)

    def soc_error(self, voltage: float, error: float) -> float:
        """Standard error of `soc_at`, of a voltage that has this one [V].

        Taken between voltage - error and voltage + error: on a plateau, where the curve says little, it is large.
        """
        low, high = self.soc_at(voltage - error), self.soc_at(voltage + error)
        return max((high - low) / 2, 1e-4)

    def slope(self, voltage: float, reach: float = 0.01) -> float:
        """dV/dSoC at a rested voltage [V], over `reach` to both sides."""
        return 2 * reach / max(self.soc_at(voltage + reach) - self.soc_at(voltage - reach), 1e-4)


def load_chemistry(name: str) -> Chemistry:
    """Read a chemistry: a name of chemistries/ (NMC, LFP, NCA), or the path of a file of one's own cell.

    NMC811, NCM523, .. are NMC: what one composition differs from another by is in the table's error.

    Raises:
        ConfigError: naming the file and the key.
    """
    family = name.upper().rstrip("0123456789").replace("NCM", "NMC")
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{family}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise ConfigError(str(path), "chemistry", f"{name!r} is not known; there are {known}, or give a .yaml file")
    try:
        file = _File.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None
    return Chemistry(file.name, file.full_v, file.empty_v, file.rest_s, file.soc, file.ocv, file.error)


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    at = bisect_right(xs, x)
    share = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] + share * (ys[at] - ys[at - 1])
