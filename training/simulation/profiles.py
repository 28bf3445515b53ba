"""Current profiles of one cell: those that the tables are fitted on, and others that they are checked with.

All stay within what a BMS allows at the temperature (`limits`). Steps of 10 s, current held during each.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.sensor.simulated.duty import COLD_CHARGE, Driver, Drives

Doubles = NDArray[np.float64]

STEP_S: Final = 10.0
COLD_DISCHARGE: Final = ((-10.0, 0.6), (0.0, 1.0), (10.0, 1.5), (20.0, 2.0))  # degC, C rate of a peak
SOC_LOW, SOC_HIGH = 0.06, 0.97
SLOWEST_C: Final = 0.05
DST: Final = (  # Dynamic Stress Test: s, share of peak power (negative = discharge); USABC manual, rev. 2 (1996)
    (16, 0.0),
    (28, -0.125),
    (12, -0.25),
    (8, 0.125),
    (16, 0.0),
    (24, -0.125),
    (12, -0.25),
    (8, 0.125),
    (16, 0.0),
    (24, -0.125),
    (12, -0.25),
    (8, 0.125),
    (16, 0.0),
    (36, -0.125),
    (8, -1.0),
    (24, -0.625),
    (8, 0.25),
    (32, -0.25),
    (8, 0.5),
    (44, 0.0),
)


class Profile(NamedTuple):
    """current: (n,) A, positive = charging, each for STEP_S; soc: as it begins, from rest."""

    name: str
    soc: float
    current: Doubles


def limits(temperature: float) -> tuple[float, float]:
    """(charge, discharge) C rates at that temperature [degC], both positive."""
    charge, discharge = (
        float(np.interp(temperature, [at for at, _ in table], [rate for _, rate in table]))
        for table in (COLD_CHARGE, COLD_DISCHARGE)
    )
    return max(charge, 0.06), discharge


def fitted(temperature: float, capacity_ah: float, seed: int) -> list[Profile]:
    """Constant currents, pulses up and down, and noise like a drive, over the whole range of charge."""
    rng = np.random.default_rng((seed, round(temperature * 10) + 10_000))
    charge, discharge = limits(temperature)
    made = [
        Profile("pulses down", 0.88, _pulses(-1, charge, discharge, capacity_ah, rng)),
        Profile("pulses up", 0.08, _pulses(+1, charge, discharge, capacity_ah, rng)),
        Profile("noise", 0.95, _noise(1500, 0.95, (0.0, 0.5), charge, discharge, capacity_ah, rng)),
        Profile("noise, half", 0.55, _noise(1000, 0.55, (0.0, 0.5), charge, discharge, capacity_ah, rng)),
        Profile("noise, hard", 0.95, _noise(600, 0.95, (0.3, 0.9), charge, discharge, capacity_ah, rng)),
    ]
    made += [
        Profile(f"discharge {share:g}", 0.97, _constant(-share * discharge, 0.9, capacity_ah))
        for share in (0.1, 0.25, 0.5)
    ]
    made += [
        Profile(f"charge {share:g}", 0.06, _constant(share * min(charge, 0.8), 0.9, capacity_ah))
        for share in (0.25, 0.5, 1.0)
        if share * min(charge, 0.8) > SLOWEST_C
    ]
    return [_within(profile, capacity_ah) for profile in made]


def checking(temperature: float, capacity_ah: float, seed: int) -> list[Profile]:
    """Dynamic Stress Test, a car's drives in town and on the motorway, charges by constant current that tapers, other
    constant currents, other pulses.
    """
    rng = np.random.default_rng((seed, round(temperature * 10) + 20_000))
    charge, discharge = limits(temperature)
    made = [
        Profile("DST", 0.9, _dst(600, min(discharge, 2 * charge), capacity_ah)),
        Profile("town", 0.9, _drive(700, 0.3, charge, discharge, capacity_ah, rng)),
        Profile("motorway", 0.9, _drive(500, 1.7, charge, discharge, capacity_ah, rng)),
        Profile("charge, tapering", 0.15, _taper(0.65 * min(charge, 0.8), 0.6, capacity_ah)),
        Profile("slow charge", 0.3, _constant(min(0.15, charge), 0.5, capacity_ah)),
        Profile("discharge", 0.9, _constant(-0.35 * discharge, 0.75, capacity_ah)),
        Profile("pulses", 0.88, _pulses(-1, charge, discharge, capacity_ah, rng, least=0.3)),
    ]
    return [_within(profile, capacity_ah) for profile in made]


def _within(profile: Profile, capacity_ah: float) -> Profile:
    """Up to where the charge leaves the range that is used."""
    soc = profile.soc + np.cumsum(profile.current) * STEP_S / 3600 / capacity_ah
    out = np.nonzero((soc < SOC_LOW) | (soc > SOC_HIGH))[0]
    return Profile(profile.name, profile.soc, profile.current[: out[0]] if len(out) else profile.current)


def _constant(rate: float, span: float, capacity_ah: float) -> Doubles:
    """`span` of the capacity at a C rate, then ten minutes of rest."""
    steps = round(span / abs(rate) * 3600 / STEP_S)
    return np.asarray(np.r_[np.full(steps, rate * capacity_ah), np.zeros(60)], np.float64)


def _taper(rate: float, until: float, capacity_ah: float) -> Doubles:
    """Constant current until SoC `until`, then falling as in a charge at constant voltage."""
    steps = round((until - 0.15) / rate * 3600 / STEP_S)
    fall = np.exp(-np.arange(360) * STEP_S * rate / (3600 * (0.97 - until)))
    return np.asarray(np.r_[np.full(steps, rate), rate * fall] * capacity_ah, np.float64)


def _pulses(
    sign: int, charge: float, discharge: float, capacity_ah: float, rng: np.random.Generator, least: float = 0.08
) -> Doubles:
    """Pulses of both signs and rests between stretches that move the charge by 1 to 4 %, until little is left."""
    rates: list[float] = []
    moved, span, begin = 0.0, 0.88 - least, (least if sign > 0 else 0.88)
    while abs(moved) < span and len(rates) < 1500:
        stretch = rng.uniform(0.3, 1.0) * (0.8 * charge if sign > 0 else 0.5 * discharge)
        steps = max(1, round(rng.uniform(0.01, 0.04) / stretch * 3600 / STEP_S))
        part = [sign * stretch] * min(steps, 120) + [0.0] * int(rng.integers(0, 30))
        for _ in range(2):
            up = rng.random() < 0.5
            rate = rng.uniform(0.2, 1.0) * _room(begin + moved, up) * (charge if up else -discharge)
            part += [rate] * int(rng.integers(1, 9)) + [0.0] * int(rng.integers(1, 12))
        rates += part
        moved += sum(part) * STEP_S / 3600
    return np.array(rates) * capacity_ah


def _room(soc: float, up: bool) -> float:
    """Share of the largest rate that a BMS allows near the ends."""
    return float(np.clip((1.0 - soc) / 0.25, 0.1, 1.0) if up else np.clip(soc / 0.3, 0.2, 1.0))


def _noise(
    steps: int,
    soc: float,
    load: tuple[float, float],
    charge: float,
    discharge: float,
    capacity_ah: float,
    rng: np.random.Generator,
) -> Doubles:
    """Stretches of different mean (`load`, share of the peak) with noise on them, and stops between."""
    rates = np.zeros(steps)
    at = 0
    while at < steps:
        length, mean, spread = int(rng.integers(10, 120)), rng.uniform(*load), rng.uniform(0.1, 0.4)
        wander = 0.0
        for step in range(at, min(at + length, steps)):
            wander = 0.6 * wander + 0.8 * spread * rng.standard_normal()
            most, least = charge * _room(soc, True), discharge * _room(soc, False)
            rates[step] = np.clip((wander - mean) * discharge, -least, most)
            soc += rates[step] * STEP_S / 3600
        at += length + int(rng.integers(0, 30))
    return rates * capacity_ah


def _dst(steps: int, peak: float, capacity_ah: float) -> Doubles:
    schedule = np.concatenate([np.full(seconds, share) for seconds, share in DST])
    seconds = np.tile(schedule, -(-steps * int(STEP_S) // len(schedule)))[: steps * int(STEP_S)]
    return np.asarray(seconds.reshape(steps, -1).mean(axis=1) * peak * capacity_ah, np.float64)


def _drive(
    steps: int, road: float, charge: float, discharge: float, capacity_ah: float, rng: np.random.Generator
) -> Doubles:
    """The fleet's cars: 96 cells of 3.65 V and 60 Ah give the power."""
    drives = Drives([Driver(road, 0.5)], rng)
    power = drives.power(steps * int(STEP_S))[:, 0].reshape(steps, -1).mean(axis=1)
    return np.asarray(np.clip(-power / (96 * 3.65) / 60.0, -discharge, charge) * capacity_ah, np.float64)
