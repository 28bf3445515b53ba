"""Capacity, learned from the charge between two states of known charge. Pure.

capacity = (Ah counted) / (SoC after - SoC before), where they are far enough apart and nothing is missing between
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Final

from services.inference.estimators.chemistry import Chemistry
from services.inference.estimators.counter import passed
from services.inference.estimators.quantity import Kept, Quantity, Walk
from services.inference.estimators.state import Anchor, difference

LONGEST_H: Final = 48.0  # between the two: later the offset and an unknown leak decide
LEAST: Final = 0.4  # SoC between the two: below it the tables' error decides
NOMINAL: Final = 0.08  # standard error of a name-plate capacity: makes differ, and age takes up to 20 %
AGEING: Final = 0.002  # of the capacity, from reading to reading (20 % in a thousand cycles are a tenth of that)
MOST: Final = 1.25  # of the name plate: no cell has more; what reads more is a leak, or another device
LEAST_LEFT: Final = 0.3  # of the name plate: what reads less is no whole discharge
WILD: Final = 4.0  # standard errors: such a reading is set aside, unless the next one says the same


@dataclass(slots=True)
class Capacity(Kept):
    """Capacity [Ah].

    Args:
        nominal: by the name plate [Ah]; None = not told: known when it has been learned.
    """

    KEPT: ClassVar = ("floor", "readings", "aside")
    nominal: float | None
    walk: Walk = field(init=False)
    floor: float = 0.0  # of the error [Ah]: what tables are off by does not average out
    readings: int = 0
    aside: float | None = None  # a reading that does not fit [Ah]

    def __post_init__(self) -> None:
        self.walk = Walk(step=AGEING * (self.nominal or 0.0), jump=math.inf)  # a capacity does not jump
        if self.nominal is not None:
            self.walk.take(self.nominal, NOMINAL * self.nominal)

    def take(self, before: Anchor, after: Anchor, chemistry: Chemistry, leak: Quantity | None) -> bool:
        """Learn from the charge between two anchors; return whether it told anything.

        Args:
            leak: what disappears besides [A], as far as it is known.
        """
        since = passed(before.at, after.at)
        change, error = difference(before, after, chemistry)
        if not since.whole or abs(change) < LEAST or since.hours > LONGEST_H:
            return False
        lost, lost_error = (0.0, 0.0) if leak is None else (leak.value * since.hours, leak.error * since.hours)
        reading = (since.ah - lost) / change
        if reading <= 0 or (self.nominal and not LEAST_LEFT <= reading / self.nominal <= MOST):
            return False
        systematic = reading * error / abs(change)
        whole = math.hypot(systematic, since.error / abs(change), lost_error / abs(change))
        known = self.quantity
        if known is not None and abs(reading - known.value) > WILD * math.hypot(whole, known.error):
            again = self.aside is not None and abs(reading - self.aside) < whole
            self.aside = reading
            if not again:
                return False
        self.aside = None
        self.walk.step = AGEING * reading
        self.walk.take(reading, whole)
        self.floor = systematic if self.readings == 0 else min(self.floor * 1.02, systematic)
        self.readings += 1
        return True

    @property
    def quantity(self) -> Quantity | None:
        known = self.walk.quantity
        return (
            None if known is None else Quantity(known.value, max(known.error, min(self.floor, NOMINAL * known.value)))
        )
