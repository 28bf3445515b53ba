"""When to switch off after the power was lost. Pure: times are given."""

from dataclasses import dataclass
from typing import Final

LEAST_S: Final = 10.0  # the alarm goes out first, and journals are written


@dataclass(slots=True)
class Outage:
    """Args: after_s: on the UPS's battery for this long, or as soon as it says that it is nearly empty, is the end."""

    after_s: float
    since: float | None = None  # mono; None: there is power

    def update(self, mono: float, lost: bool | None, low: bool) -> bool:
        """Take what the UPS says (lost None: nothing can be heard, so nothing changes); whether to switch off now."""
        if lost is False:
            self.since = None
        elif lost and self.since is None:
            self.since = mono
        if self.since is None:
            return False
        return mono - self.since >= (min(LEAST_S, self.after_s) if low else self.after_s)
