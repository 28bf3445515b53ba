"""State of charge: counted coulombs from the last known state. Pure, O(1) a sample.

    SoC = SoC at the anchor + (Ah counted since - leak x hours) / capacity

An anchor is a true rest's open-circuit voltage or the end of a full charge (state.py), or, as long as neither was seen,
what the device says of itself. It replaces the counted value when it is the surer of the two, or when both cannot be
true (then with an error that says so). A voltage under load is never used. Resets hide no leak: leak.py takes what each
of them had to make up for.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from services.inference.estimators.counter import Count, passed
from services.inference.estimators.quantity import Kept, Quantity
from services.inference.estimators.state import Anchor

UNKNOWN: Final = 0.25  # a standard error beyond it says no more than "between 0 and 1" (0.29)
OWN_ERROR: Final = 0.05  # of a BMS's own figure, as far as one can trust one that one does not know
CONTRADICTED: Final = 3.0  # standard errors between counted and anchored: one of them is wrong


@dataclass(slots=True)
class StateOfCharge(Kept):
    """Counts from anchor to anchor."""

    KEPT: ClassVar = ("soc", "error", "at")
    soc: float | None = None  # at the anchor
    error: float = 0.0
    at: list[float] | None = None  # the counter then (Count)

    def reset(self, anchor: Anchor, capacity: Quantity, leak: Quantity | None) -> None:
        """Take a state of known charge, if it is the better knowledge."""
        error, counted = anchor.soc_error, self.estimate(anchor.at, capacity, leak)
        if counted is not None:
            apart = abs(anchor.soc - counted.value)
            if apart > CONTRADICTED * math.hypot(error, counted.error):
                error = math.hypot(error, apart / 2)
            elif error > counted.error:
                return
        self._set(anchor.soc, error, anchor.at)

    def told(self, soc: float, count: Count, capacity: Quantity, leak: Quantity | None) -> None:
        """Take what the device says of itself, where we know much less."""
        counted = self.estimate(count, capacity, leak)
        if counted is None or counted.error > 2 * OWN_ERROR:
            self._set(soc, OWN_ERROR, count)

    def _set(self, soc: float, error: float, count: Count) -> None:
        self.soc, self.error, self.at = soc, error, list(count)

    def estimate(self, count: Count, capacity: Quantity, leak: Quantity | None) -> Quantity | None:
        """The state of charge now, 0..1; None where it is not known. `leak`: what disappears besides [A]."""
        if self.soc is None or self.at is None:
            return None
        since = passed(Count(*self.at), count)  # type: ignore[arg-type]
        lost, lost_error = (0.0, 0.0) if leak is None else (leak.value * since.hours, leak.error * since.hours)
        change = (since.ah - lost) / capacity.value
        value = self.soc + change
        error = math.hypot(self.error, since.error / capacity.value, lost_error / capacity.value)
        error = math.hypot(error, change * capacity.error / capacity.value)
        if error > UNKNOWN:
            return None
        if not 0.0 <= value <= 1.0:  # a cell is not fuller than full: count on from there
            value = min(max(value, 0.0), 1.0)
            self._set(value, error, count)
        return Quantity(value, error)
