"""A rule that holds only under a condition, such as at rest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.alert.suspect import Trust, trust
from services.bus.messages import Values


@dataclass(slots=True)
class Gate:
    """Open once `channel` has been within [low, high] for `for_s`; closed when its reading is bad.

    While it is closed a rule does not raise.

    Args:
        absolute: compare the magnitude (a current of either sign).
    """

    channel: str
    low: float = float("-inf")
    high: float = float("inf")
    absolute: bool = False
    for_s: float = 0.0
    since: float | None = None

    def open(self, t: float, channels: Mapping[str, Values], quality: Mapping[str, str]) -> bool:
        """Take one sample at `t` [s]; return whether the rule holds now."""
        value = channels.get(self.channel)
        if not isinstance(value, float | int) or trust(value, quality.get(self.channel)) is not Trust.GOOD:
            self.since = None
            return False
        if not self.low <= (abs(value) if self.absolute else value) <= self.high:
            self.since = None
            return False
        if self.since is None:
            self.since = t
        return t - self.since >= self.for_s
