"""One continuous recording, as every loader of this folder gives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.bus.profiles import Profile, load_profile
from training.data.errors import DataError

Floats = NDArray[np.float32]
Times = NDArray[np.float64]
Phase = Literal["charge", "discharge", "mixed"]

HEALTHY, FAULTY, UNKNOWN = 0, 1, -1
LABELS: Final = (HEALTHY, FAULTY, UNKNOWN)
OUTSIDE_MAX: Final = 0.02
"""Share of a channel's readings that may lie outside of the profile's range: real recordings hold stray values. More
are a wrong unit or a wrong column."""
WARM_MAX: Final = 150.0  # degC, median of a probe; the profile's range has to hold a burning pack and so tells nothing


@dataclass(frozen=True, slots=True)
class Run:
    """A continuous recording in the project's units and signs.

    Args:
        source: the loader's name.
        group: what a split keeps on one side (vehicle, protocol, cell).
        unit: what is judged as one (vehicle, run of a tester).
        label: 0 healthy, 1 faulty, -1 unknown.
        time_s: (n,) not decreasing; s since 1970 where the source has a calendar, else since the run began.
        channels: names of the battery profile -> (n,) or, of a vector, (n, elements); V, A (positive = charging),
            degC, SoC 0..1. NaN = no reading. A channel that was not measured is left out.
        fault: what is wrong with it, "" when nothing is known to be.
        size: of the fault (ohm of a short, V of a drift); NaN = none or unknown.
        doubtful: (n,) rows of which the label may not hold (a BMS warning in a healthy recording); None = it holds.
        facts: what else the source says (chemistry, cell, mileage), by the source's own terms.
    Raises:
        DataError: shapes, times, units or values that cannot be; names channel and row.
    """

    source: str
    group: str
    unit: str
    label: int
    time_s: Times
    channels: Mapping[str, Floats]
    fault: str = ""
    size: float = float("nan")
    phase: Phase = "mixed"
    doubtful: NDArray[np.bool_] | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"{self.source} {self.unit}"
        if not self.source or not self.group or not self.unit:
            raise DataError(where, "identity", "source, group and unit must each have a name")
        if self.label not in LABELS:
            raise DataError(where, "label", f"{self.label}, expected one of {LABELS}")
        if self.time_s.ndim != 1 or not len(self.time_s):
            raise DataError(where, "rows", f"time is of shape {self.time_s.shape}")
        if not np.isfinite(self.time_s).all():
            raise DataError(where, "time", "no number", int(np.argmin(np.isfinite(self.time_s))))
        back = np.nonzero(np.diff(self.time_s) < 0)[0]
        if len(back):
            raise DataError(where, "time", "goes back", int(back[0]) + 1)
        if self.doubtful is not None and self.doubtful.shape != self.time_s.shape:
            raise DataError(where, "shape", f"doubtful is {self.doubtful.shape}, time has {len(self.time_s)} rows")
        if not self.channels:
            raise DataError(where, "channels", "there is none")
        for name, values in self.channels.items():
            self._check_channel(where, name, values)

    def _check_channel(self, where: str, name: str, values: Floats) -> None:
        channel = battery().by_name.get(name)
        if channel is None:
            raise DataError(where, "channels", f"{name} is not in profile {battery().name}")
        dimensions = 1 if channel.kind == "scalar" else 2
        if values.ndim != dimensions or len(values) != len(self.time_s) or not values.size:
            raise DataError(where, "shape", f"{name} is {values.shape}, time has {len(self.time_s)} rows")
        if values.dtype != np.float32:
            raise DataError(where, "type", f"{name} is {values.dtype}, expected float32")
        if np.isinf(values).any():
            row = int(np.nonzero(np.isinf(values).reshape(len(values), -1).any(axis=1))[0][0])
            raise DataError(where, "finite", f"{name} is infinite", row)
        if np.isnan(values).all():
            raise DataError(where, "NaN column", f"{name} has no reading in any row")

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1] - self.time_s[0])


@cache
def battery() -> Profile:
    return load_profile("battery")


def check_plausible(where: str, channels: Mapping[str, Floats]) -> None:
    """Refuse a recording whose numbers cannot be in the project's units.

    Raises:
        DataError: naming channel, first row and what it looks like (a pack of 0.36 "V" is one in kilovolts).
    """
    for name, values in channels.items():
        spec = battery().by_name[name]
        known = np.isfinite(values)
        outside = known & ((values < spec.low) | (values > spec.high))
        if known.any() and outside.sum() > OUTSIDE_MAX * known.sum():
            row = int(np.nonzero(outside.reshape(len(values), -1).any(axis=1))[0][0])
            raise DataError(
                where,
                "unit",
                f"{name}: {outside.sum() / known.sum():.0%} of the readings outside of {spec.low:g}..{spec.high:g} "
                f"{spec.unit}",
                row,
            )
        typical = float(np.nanmedian(np.abs(values)))
        if name in LEAST_TYPICAL and typical < LEAST_TYPICAL[name]:
            raise DataError(where, "unit", f"{name} is {typical:.3g} {spec.unit} at the median: kilovolts?", 0)
        if name.startswith("temperature") and typical > WARM_MAX:
            raise DataError(where, "unit", f"{name} is {typical:.4g} {spec.unit} at the median: kelvin?", 0)


LEAST_TYPICAL: Final = {"voltage": 0.8, "cell_voltages": 0.8, "cell_voltage_max": 0.8, "cell_voltage_min": 0.8}
"""V. No battery cell works below; LTO, the lowest, ends its discharge at 1.5 V."""
