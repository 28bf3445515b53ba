"""States of known charge: a true rest, by open-circuit voltage; the end of a full charge; the end of a whole discharge.

The last is where a device stops by its cut-off voltage. It tells the capacity that can be had, as a name plate means
it, and nothing else: the state of charge is never taken from a voltage under load, nor is a leak.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, NamedTuple

from services.inference.estimators.chemistry import Chemistry
from services.inference.estimators.counter import Count
from services.inference.estimators.quantity import Kept
from services.inference.estimators.rest import Rest

REST_ERROR: Final = 0.01  # in SoC, at least: at the ends of a table, where voltage tells much, capacities differ
FULL_WITHIN_V: Final = 0.015  # of the charger's voltage, a cell
TAPER: Final = 0.25  # C: a charge that ends above was broken off
FULL_EACH_S: Final = 1800.0
FULL_ERROR: Final = 0.01  # of the capacity, what two chargers mean by full; more by what the last current leaves
TAPER_ERROR: Final = 0.1  # of the capacity, for each C that still flowed
EMPTY_ERROR: Final = 0.04  # of the capacity: what is left at 1 C and is not at C/10
EMPTY_LOAD: Final = 0.05  # C: a discharge
CORRELATED: Final = 0.15  # in SoC: over so much a table is off by about the same
CLOSED: Final = 0.1  # in SoC: a cycle that ends so near to where it began is closed
FULL_AGAIN: Final = 0.002  # of the capacity: two ends of charge of one charger
WARM: Final = 0.0005  # of the capacity a kelvin: an end of charge comes earlier in the cold


class Anchor(NamedTuple):
    """A moment at which the state of charge is known."""

    kind: Literal["rest", "full", "empty"]
    at: Count
    soc: float
    soc_error: float  # all of it, as against other cells
    voltage: float  # of the mean cell [V]
    voltage_error: float  # of a rest: what is left of relaxation, and the sensor [V]
    taper: float  # last current of a full charge, as a share of the capacity [1/h]
    temperature: float | None  # degC

    def to_list(self) -> list[Any]:
        return [self.kind, list(self.at), *self[2:]]


def anchor(fields: list[Any]) -> Anchor:
    """Of `Anchor.to_list`."""
    kind, at, *rest = fields
    return Anchor(kind, Count(*at), *rest)


def at_rest(rest: Rest, chemistry: Chemistry, count: Count, temperature: float | None) -> Anchor | None:
    """The state of charge by open-circuit voltage; None unless the rest is a true one and its voltage is fresh.

    Never under load: that would read a leak, or a sagging cell, as discharge.
    """
    if rest.voltage is None or rest.age(count.t) < chemistry.rest_s or count.t > rest.voltage_t:
        return None
    soc = chemistry.soc_at(rest.voltage)
    error = rest.voltage_error(count.t)
    whole = math.hypot(error, chemistry.error_at(soc))
    soc_error = max(chemistry.soc_error(rest.voltage, whole), REST_ERROR)
    return Anchor("rest", count, soc, soc_error, rest.voltage, error, 0.0, temperature)


@dataclass(slots=True)
class Full(Kept):
    """Finds the end of a full charge: the current has tapered off at the charger's voltage, then stops."""

    KEPT: ClassVar = ("taper", "voltage", "ended")
    taper: float | None = None  # A, while the charge tapers
    voltage: float = 0.0
    ended: float | None = None  # the last one [s]

    def take(
        self, count: Count, current: float, limit: float, highest: float | None, mean: float | None,
        chemistry: Chemistry, capacity: float, temperature: float | None,
    ) -> Anchor | None:  # fmt: skip
        """Take one sample (`highest` and `mean` cell, V); return the anchor when a full charge has just ended."""
        if current > limit:
            full = highest is not None and highest >= chemistry.full_v - FULL_WITHIN_V
            if full and mean is not None and current <= TAPER * capacity:
                self.taper, self.voltage = current, mean
            elif highest is not None:
                self.taper = None
            return None
        if self.taper is None:
            return None
        share, self.taper = self.taper / capacity, None
        if self.ended is not None and count.t - self.ended < FULL_EACH_S:
            return None  # its current falters, or it is topped up
        self.ended = count.t
        error = FULL_ERROR + TAPER_ERROR * share
        return Anchor("full", count, 1.0, error, self.voltage, 0.0, share, temperature)


@dataclass(slots=True)
class Empty(Kept):
    """Finds the end of a whole discharge: the current stops below the voltage at which a cell is empty under load."""

    KEPT: ClassVar = ("low", "voltage")
    low: bool = False
    voltage: float = 0.0

    def take(
        self, count: Count, current: float, limit: float, mean: float | None, chemistry: Chemistry, capacity: float,
        temperature: float | None,
    ) -> Anchor | None:  # fmt: skip
        """Take one sample; return the anchor when a discharge has just ended empty."""
        if current < -EMPTY_LOAD * capacity:
            if mean is not None:
                self.low, self.voltage = mean <= chemistry.empty_v, mean
            return None
        if not self.low or current < -limit:
            return None
        self.low = False
        return Anchor("empty", count, 0.0, EMPTY_ERROR, self.voltage, 0.0, 0.0, temperature)


def difference(before: Anchor, after: Anchor, chemistry: Chemistry) -> tuple[float, float]:
    """State of charge after less before, and its standard error.

    What a table or a charger is off by is the same in like states and cancels: it counts the more, the further they are
    apart.
    """
    change = after.soc - before.soc
    temperatures = (before.temperature, after.temperature)
    warmer = 0.0 if None in temperatures else abs(temperatures[1] - temperatures[0])  # type: ignore[operator]
    if before.kind == after.kind == "full":
        return change, math.hypot(FULL_AGAIN + TAPER_ERROR * abs(after.taper - before.taper), WARM * warmer)
    if before.kind != after.kind:
        return change, math.hypot(before.soc_error, after.soc_error)
    share = 2 * (1 - math.exp(-abs(change) / CORRELATED))
    error = 0.0
    for one in (before, after):
        table = chemistry.error_at(one.soc) * math.sqrt(share / 2)
        error += chemistry.soc_error(one.voltage, math.hypot(one.voltage_error, table)) ** 2
    return change, math.sqrt(error)
