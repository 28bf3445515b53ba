"""What is asked of a pack: driving by a speed that drivers might drive, charging by constant current and voltage. Pure.

A drive is a row of target speeds (streets, and stops between them); the car follows with its driver's acceleration. The
power is that of a compact car: 1.5 t, drag area 0.62 m2, rolling resistance 1 %, drive train 90 %, auxiliaries 0.5 kW.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.sensor.simulated.pack import Floats, Packs

MASS: Final = 1500.0  # kg
DRAG: Final = 0.5 * 1.2 * 0.62  # N / (m/s)2
ROLLING: Final = 0.01 * 9.81 * MASS  # N
EFFICIENCY: Final = 0.9
REGENERATION: Final = 0.65  # of the braking power comes back
AUXILIARIES: Final = 500.0  # W
STREETS: Final = (  # km/h from, to; s from, to; chance in town, in the country, on the motorway
    ((0, 0), (5, 45), (0.35, 0.12, 0.05)),
    ((20, 55), (15, 90), (0.55, 0.23, 0.05)),
    ((60, 95), (40, 240), (0.10, 0.55, 0.15)),
    ((105, 130), (90, 500), (0.00, 0.10, 0.75)),
)
PLUG_IN_C: Final = 1 / 60  # C rate below which a charge is over
CELL_LIMIT_V: Final = 4.18
CELL_EMPTY_V: Final = 3.0
COLD_CHARGE: Final = ((-10.0, 0.02), (0.0, 0.15), (10.0, 0.4), (20.0, 1.0))  # degC, largest C rate that a BMS allows
HOT_OFF: Final = 55.0  # degC; the BMS takes current back from 5 degC below


@dataclass(frozen=True, slots=True)
class Driver:
    """road: 0 town, 1 country, 2 motorway, and between; haste: 0 gentle .. 1 brisk."""

    road: float
    haste: float


class Drives:
    """Speeds and powers of several cars, second by second."""

    def __init__(self, drivers: Sequence[Driver], rng: np.random.Generator) -> None:
        self._rng, count = rng, len(drivers)
        haste = np.array([driver.haste for driver in drivers])
        road = np.clip([driver.road for driver in drivers], 0.0, 2.0)
        chances = np.array([street[2] for street in STREETS])  # (streets, 3)
        below = np.minimum(road.astype(int), 1)
        self._chances = chances[:, below] * (1 - road + below) + chances[:, below + 1] * (road - below)
        self._rise, self._fall = 0.7 + 1.6 * haste, 0.9 + 1.8 * haste  # m/s2
        self._speed, self._target, self._left = np.zeros(count), np.zeros(count), np.zeros(count)

    @property
    def speed(self) -> NDArray[np.float64]:
        """(cars,) m/s."""
        return self._speed

    def power(self, seconds: int) -> NDArray[np.float64]:
        """(seconds, cars) W at the battery, positive = driving; the next `seconds`."""
        made = np.empty((seconds, len(self._speed)))
        for second in range(seconds):
            for car in np.nonzero(self._left <= 0)[0]:
                self._next_street(int(car))
            self._left -= 1
            before = self._speed
            wander = 0.25 * self._rng.standard_normal(len(before)) * (self._target > 0)
            self._speed = np.maximum(before + np.clip(self._target - before, -self._fall, self._rise) + wander, 0.0)
            made[second] = self._traction(before, self._speed)
        return made

    def _next_street(self, car: int) -> None:
        chances = self._chances[:, car]
        street = STREETS[int(self._rng.choice(len(STREETS), p=chances / chances.sum()))]
        self._target[car] = self._rng.uniform(*street[0]) / 3.6
        self._left[car] = self._rng.uniform(*street[1])

    @staticmethod
    def _traction(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
        speed = (before + after) / 2
        wheel = (MASS * (after - before) + DRAG * speed**2 + ROLLING * (speed > 0)) * speed
        return np.where(wheel > 0, wheel / EFFICIENCY, wheel * REGENERATION * EFFICIENCY) + AUXILIARIES


def drive_current(packs: Packs, power: NDArray[np.float64], nominal_ah: float) -> Floats:
    """(packs,) A for `power` (packs,) W, within what the BMS allows: none beyond an empty or full cell, 3 C at most."""
    wanted = -power / np.maximum(packs.pack_voltage, 1.0)
    lowest, highest = packs.voltage.min(axis=1), packs.voltage.max(axis=1)
    most = 3 * nominal_ah * np.clip((lowest - CELL_EMPTY_V) / 0.3, 0.0, 1.0) * _heat_share(packs)
    back = _charge_limit(packs, nominal_ah) * np.clip((CELL_LIMIT_V - highest) / 0.1, 0.0, 1.0)
    return np.clip(wanted, -most, back).astype(np.float32)


class Charger:
    """Constant power or current, then constant voltage of the highest cell.

    Args:
        power: (packs,) W that the charger gives.
        limit: (packs,) A that charger and BMS allow.
        until: (packs,) V of the highest cell.
    """

    def __init__(self, power: NDArray[np.float64], limit: NDArray[np.float64], until: NDArray[np.float64]) -> None:
        self._power, self._limit, self._until = power, limit, until
        self._allowed = limit.copy()

    def current(self, packs: Packs, nominal_ah: float, dt: float) -> Floats:
        """(packs,) A for the next `dt` s."""
        highest = packs.voltage.max(axis=1)
        room = (self._until - highest) * nominal_ah * 4.0  # a cell of 1/8 ohm Ah: half of the way to the limit
        self._allowed = np.clip(self._allowed + room * min(dt / 10.0, 1.0), 0.0, self._limit)
        by_power = self._power / np.maximum(packs.pack_voltage, 1.0)
        allowed = np.minimum(np.minimum(self._allowed, by_power), _charge_limit(packs, nominal_ah))
        return (allowed * _heat_share(packs)).astype(np.float32)

    def done(self, current: Floats, nominal_ah: float) -> NDArray[np.bool_]:
        """(packs,) the current has fallen to what ends a charge."""
        return np.asarray((self._allowed < self._limit) & (current < PLUG_IN_C * nominal_ah), np.bool_)


def _charge_limit(packs: Packs, nominal_ah: float) -> NDArray[np.float64]:
    coldest = packs.temperature.min(axis=1)
    at, rate = zip(*COLD_CHARGE, strict=True)
    return np.asarray(np.interp(coldest, at, rate) * nominal_ah, np.float64)


def _heat_share(packs: Packs) -> NDArray[np.float64]:
    return np.asarray(np.clip((HOT_OFF - packs.temperature.max(axis=1)) / 5.0, 0.0, 1.0), np.float64)
