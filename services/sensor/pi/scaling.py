"""From a pin's voltage to a reading. Pure.

A reading is rejected by evidence of a fault at the pin, never because it is surprising: see docs/hardware/sensors.md.
"""

from typing import Final

from services.sensor.pi.map import Ads1115, Analog

RAIL: Final = 0.97  # of the supply: no wired sensor comes this near; a pin shorted to it does, or one driven beyond
REVERSED_VOLT: Final = -0.1
OPEN_DIVIDER_VOLT: Final = 0.01  # its bottom resistor pulls a pin without a wire to ground
OPEN_HALL_VOLT: Final = 0.1
NEAR_GROUND_VOLT: Final = 0.3  # more than any shunt to ground drops; a pin without a wire floats to about 0.6 V


class PinFault(Exception):
    """Evidence that a pin's voltage is no reading. `reason`: as in the quality `fault:<reason>`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_pin(volt: float, given: Analog, chip: Ads1115) -> None:
    """Raises PinFault: the voltage of a single pin against ground shows a broken wire."""
    if volt >= RAIL * chip.supply_volt:
        raise PinFault("saturated")
    if volt <= REVERSED_VOLT:
        raise PinFault("reversed")
    least = given.open_below_volt
    if least is None:
        least = OPEN_HALL_VOLT if given.hall else OPEN_DIVIDER_VOLT if given.divider else None
    if least is not None and volt < least:
        raise PinFault("open")


def to_reading(volt: float, given: Analog) -> float:
    """The reading in the channel's unit; a difference or a single pin's voltage [V]."""
    volt *= given.divider.ratio if given.divider else 1.0
    if given.shunt:
        value = volt / given.shunt.ohm
    elif given.hall:
        value = (volt - given.hall.zero_volt) / given.hall.volt_per_ampere
    elif given.linear:
        value = volt * given.linear.per_volt + given.linear.offset
    else:
        value = volt
    return -value if given.invert else value
