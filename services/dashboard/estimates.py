"""What streaming physics says of a device, as tiles with standard errors. Pure."""

import math
from typing import Final

from services.bus.messages import Estimate, Estimated
from services.dashboard.staleness import Freshness
from services.dashboard.tiles import Tile

QUANTITIES: Final[dict[str, tuple[str, str, float]]] = {
    "soc": ("Counted charge", "%", 100.0),
    "capacity": ("Capacity", "Ah", 1.0),
    "leak_current": ("Leak current", "A", 1.0),
    "leak_rate": ("Leak", "% of capacity/h", 100.0),
    "resistance": ("Resistance", "Ω", 1.0),
    "cell_resistance_ratio": ("Worst cell's resistance", "x the others'", 1.0),
    "cell_drain": ("Lowest cell's loss", "%/day", 100.0),
    "cell_spread_drift": ("Lowest cell's fall", "V/day", 1.0),
    "temperature_rate": ("Heating", "K/min", 60.0),
    "current_offset": ("Current offset", "A", 1.0),
}
"""Estimate -> label, unit, factor; in the order of the page."""
SMALL: Final = ("A", "Ω", "V/day")  # units that take a milli


def estimate_tiles(estimate: Estimate | None, fresh: Freshness) -> list[Tile]:
    """A tile a quantity; those that this page does not know come last under their own names."""
    if estimate is None:
        return []
    known = [name for name in QUANTITIES if name in estimate.values]
    others = sorted(set(estimate.values) - set(known))
    return [_tile(name, estimate.values[name], stale=not fresh.current) for name in [*known, *others]]


def _tile(name: str, estimated: Estimated, *, stale: bool) -> Tile:
    label, unit, factor = QUANTITIES.get(name, (name.replace("_", " ").capitalize(), "", 1.0))
    value, error = estimated.value * factor, estimated.error
    error = None if error is None else error * factor
    if unit in SMALL and max(abs(value), error or 0.0) < 0.1:
        value, error, unit = value * 1000, None if error is None else error * 1000, f"m{unit}"
    digits = 3 if not error else min(max(1 - math.floor(math.log10(error)), 0), 4)
    note = "" if error is None else f"± {error:.{digits}f}"
    return Tile(label, f"{value:z.{digits}f}", unit, note, "", stale)
