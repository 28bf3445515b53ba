"""Whether a battery rests: then it is measured more seldom. Pure: times are given.

A device rests when for `after_s` no current flowed, no voltage and no temperature moved, nothing was hot and every
reading was good. Whatever says otherwise, one reading of one element or a fault, wakes it at once. So no alarm waits
longer than one period of the rest for the first reading that leads to it; from then on it is judged at the full rate.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

PACK_SHARE: Final = 0.001  # of a voltage that may move besides: noise of a pack's divider


class Rest(BaseModel):
    """When a device rests (key `rest` of a device). Changes are those within `after_s`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    period_s: float = Field(5.0, gt=0, le=10, description="Time between rows at rest [s].")
    after_s: float = Field(60.0, ge=10, le=3600, description="So long nothing must have moved [s].")
    ampere: float = Field(0.1, gt=0, description="More current is no rest [A].")
    volt: float = Field(
        0.005, gt=0, description="A voltage that moves more is no rest [V]; 0.1 % of it if that is more."
    )
    kelvin: float = Field(0.5, gt=0, description="A temperature that moves more is no rest [K].")
    celsius: float = Field(45.0, le=60, description="Anything this warm is no rest [degC].")


class Resting:
    """Judges one device.

    Args:
        units: unit of each measured channel; what is not in A, V or degC says nothing of a rest.
    Raises:
        ValueError: neither a current nor a voltage is measured, so nobody can tell.
    """

    def __init__(self, rest: Rest, units: dict[str, str]) -> None:
        if not {"A", "V"} & set(units.values()):
            raise ValueError("rest: neither a current nor a voltage is measured")
        self.rest, self._units = rest, units
        self._moved: float | None = None  # when something moved last; None: nothing was read yet
        self._references: dict[str, tuple[float, NDArray[np.float64]]] = {}

    def disturb(self, mono: float) -> None:
        """Something is not as it is at rest."""
        self._moved = mono

    def take(self, mono: float, name: str, values: NDArray[np.float64], *, good: bool) -> None:
        """Take all elements of a channel as they were last read; `good`: none of them is faulty or doubtful."""
        if self._moved is None or not good or self._moves(mono, name, values):
            self.disturb(mono)

    def _moves(self, mono: float, name: str, values: NDArray[np.float64]) -> bool:
        unit = self._units.get(name)
        if unit == "A":
            return bool(np.any(np.abs(values) > self.rest.ampere))
        if unit not in ("V", "degC"):
            return False
        since, reference = self._references.setdefault(name, (mono, values.copy()))
        volt = np.maximum(self.rest.volt, PACK_SHARE * np.abs(reference))
        moved = np.abs(values - reference) > (volt if unit == "V" else self.rest.kelvin)
        if bool(moved.any()) or mono - since >= self.rest.after_s:
            self._references[name] = (mono, values.copy())
        return bool(moved.any()) or (unit == "degC" and bool(np.any(values >= self.rest.celsius)))

    def period_s(self, mono: float) -> float | None:
        """Time between rows if it rests at `mono` [s]; None if it does not."""
        if self._moved is None or mono - self._moved < self.rest.after_s:
            return None
        return self.rest.period_s
