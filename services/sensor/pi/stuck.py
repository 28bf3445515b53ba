"""A probe that always says the same. Pure.

A probe at rest repeats itself for hours, so this is judged only where physics says that it must move: the map names
probes that it warms with, and those have moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

MOVED_K: Final = 5.0  # of the probes beside it: a DS18B20 resolves 0.06 to 0.5 K


@dataclass(slots=True)
class Stuck:
    """Watches one probe against those beside it (their median)."""

    beside: tuple[str, ...]
    _value: float | None = None
    _low: float = field(default=float("inf"))
    _high: float = field(default=float("-inf"))

    def take(self, value: float, others: Mapping[str, float]) -> bool:
        """A reading came, and what those beside it read last [degC]; return whether it is stuck."""
        if value != self._value:
            self._value, self._low, self._high = value, float("inf"), float("-inf")
        near = [others[name] for name in self.beside if name in others]
        if near:
            now = median(near)
            self._low, self._high = min(self._low, now), max(self._high, now)
        return self._high - self._low >= MOVED_K
