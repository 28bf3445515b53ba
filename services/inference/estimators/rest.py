"""Is the device at rest, and for how long; how far its voltage still is from the open-circuit one. Pure."""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from services.inference.estimators.quantity import Kept

CHECK_S: Final = 600.0  # over so long the voltage's change is taken
SMOOTH_S: Final = 60.0
RELAXING_V: Final = 0.01
"""V that an NMC cell is still away from its open-circuit voltage after half an hour, where nothing tells better; falls
with the root of time (diffusion)."""
RELAXING_MAX: Final = 3.0
"""Times that, at most: a voltage that falls faster after hours of rest is not relaxing, it is discharging."""
SENSOR_V: Final = 0.002  # of a cell: what a calibrated divider is off


@dataclass(slots=True)
class Rest(Kept):
    """Follows a device from the moment that its current stops.

    A rest is current within `limit` all the time. Voltage may be missing for a while; current may not.
    """

    KEPT: ClassVar = ("since", "voltage", "voltage_t", "check_t", "check_v", "rate")
    since: float | None = None
    voltage: float | None = None  # of the mean cell, smoothed [V]
    voltage_t: float = 0.0
    check_t: float = 0.0
    check_v: float | None = None
    rate: float | None = None  # of the voltage [V/s]

    def take(self, t: float, current: float | None, limit: float, voltage: float | None) -> None:
        """Take one sample; `current` is that less the offset, `voltage` that of the mean cell."""
        if current is None:
            return  # a single lost reading is no load; a long hole is a gap, and ends the rest
        if not -limit <= current <= limit:
            if self.since is not None:
                self.end()
            return
        if self.since is None:
            self.since = t
        if voltage is None:
            return
        if self.voltage is None:
            self.voltage, self.check_t, self.check_v = voltage, t, None
        else:
            self.voltage += (voltage - self.voltage) * min((t - self.voltage_t) / SMOOTH_S, 1.0)
        self.voltage_t = t
        if t - self.check_t >= CHECK_S:
            if self.check_v is not None:
                self.rate = (self.voltage - self.check_v) / (t - self.check_t)
            self.check_t, self.check_v = t, self.voltage

    def end(self) -> None:
        self.since = self.voltage = self.check_v = self.rate = None

    def age(self, t: float) -> float:
        """How long it has lasted [s]; 0 under load."""
        return 0.0 if self.since is None else t - self.since

    def voltage_error(self, t: float) -> float:
        """Standard error of `voltage` as open-circuit voltage [V].

        A voltage that still moves by dV/dt after t seconds has about 2 t dV/dt to go (it relaxes with the logarithm of
        time at first, then faster).
        """
        age = max(self.age(t), 1.0)
        usual = RELAXING_V * math.sqrt(1800.0 / age)
        still = usual if self.rate is None else min(2 * abs(self.rate) * age, RELAXING_MAX * usual)
        return math.hypot(min(still, 0.1), SENSOR_V)
