"""A fleet of simulated vehicles: what each is made of, how it is driven and charged, what fails in it and when.

All is drawn from (seed, vehicle number), so a fleet is the same whenever it is made. Spreads are those of cells and
drivers; sizes of faults are drawn by logarithm over ranges that begin where a healthy pack's own spread ends, so some
cannot be seen.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from services.sensor.simulated.duty import Driver
from services.sensor.simulated.faults import KINDS, RANGES, Fault, Kind, Sensor
from services.sensor.simulated.measuring import Sensors, draw_sensors

Doubles = NDArray[np.float64]
Use = Literal["charge", "drive"]

CELLS: Final = 96
PROBES: Final = 24
NOMINAL_AH: Final = 60.0
NOMINAL_V: Final = 3.65
SHUNT_A: Final = 400.0
STEP_S: Final = 10.0
DAY_S: Final = 86_400.0
FLEET_BEGINS_S: Final = 1_672_531_200.0  # 2023-01-01 00:00 UTC
BLEED_PER_DAY: Final = 0.15 / NOMINAL_AH  # SoC: resistors of 82 ohm take 0.05 A off a high cell, three hours a day
SHORT_TAKES: Final = 0.2  # SoC that a cell has lost at the most when its short is noticed
SHORT_BEGINS: Final = 10_000.0  # ohm; above, a cell's own self-discharge is larger
CHARGERS: Final = (2300.0, 3600.0, 7200.0, 11_000.0)  # W, at home and in the street
FAST_CHARGERS: Final = (20_000.0, 35_000.0, 50_000.0)
LATE_DAYS: Final = 10.0


class Fleet(BaseModel):
    """How many vehicles, and how much is recorded of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(1, ge=0)
    healthy: int = Field(120, ge=0, le=9999, description="Vehicles without a fault.")
    faulty: int = Field(16, ge=0, le=999, description="Vehicles of each of the six faults.")
    sessions: int = Field(20, ge=0, le=2000, description="Recordings of each vehicle over its life.")
    late: int = Field(8, ge=0, le=2000, description="More of them, the denser the nearer to its last day.")
    steps: int = Field(256, ge=1, le=10_000, description="Of 10 s, in each recording.")

    def vehicles(self) -> list["Vehicle"]:
        kinds: list[Kind | None] = [None] * self.healthy + [kind for kind in KINDS for _ in range(self.faulty)]
        return [draw_vehicle(self.seed, number, kind, self) for number, kind in enumerate(kinds)]


@dataclass(frozen=True, slots=True)
class Session:
    """One recording: a charge or a drive.

    Args:
        day: since the vehicle's recordings began; start_s: the same, s since 1970.
        soc: of the pack as it begins. ambient: degC.
        power: W of the charger. until: V of the highest cell at which a charge is held.
        warm: degC by which the pack is warmer than the air.
        imbalance: SoC by which the failing cell is off the others as the session begins.
    """

    number: int
    use: Use
    day: float
    start_s: float
    soc: float
    ambient: float
    warm: float
    power: float
    until: float
    active: bool
    grown: float
    imbalance: float


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One car. Arrays are (CELLS,)."""

    name: str
    fault: Fault | None
    onset_day: float
    capacity: Doubles  # relative to nominal, new
    resistance: Doubles  # relative, new
    balance: Doubles  # SoC by which each cell is off, as the recordings begin
    wander: Doubles  # and what comes to that until they end
    cooling: Doubles  # relative
    health: tuple[float, float]  # share of the capacity that is left: first day, last day
    km: tuple[float, float]
    days: float
    driver: Driver
    soc_error: float  # of the car's own count, as a session begins
    sensors: Sensors = field(repr=False)
    voltage_gain: float
    sessions: tuple[Session, ...] = field(repr=False)

    def health_at(self, day: float) -> float:
        return self.health[0] + (self.health[1] - self.health[0]) * day / self.days

    def km_at(self, day: float) -> float:
        return self.km[0] + (self.km[1] - self.km[0]) * day / self.days


def draw_vehicle(seed: int, number: int, kind: Kind | None, fleet: Fleet) -> Vehicle:
    rng = np.random.default_rng((seed, number))
    days = float(rng.uniform(250, 600))
    age = float(rng.uniform(0, 5))  # years as the recordings begin
    wear = float(rng.uniform(0.010, 0.028))  # share of the capacity a year
    km_day = float(rng.lognormal(np.log(40), 0.5))
    health = (1 - wear * age, 1 - wear * (age + days / 365))
    spread = float(np.exp(rng.normal(np.log(0.004), 0.4))) * (1 + 0.15 * age)
    off = float(np.exp(rng.normal(np.log(0.0025), 0.5))) * (1 + 0.15 * age)
    place = np.linspace(-1, 1, CELLS)
    begins = FLEET_BEGINS_S + float(rng.uniform(0, 365)) * DAY_S
    fault = None if kind is None else draw_fault(kind, rng)
    onset = days * float(rng.uniform(0.25, 0.75))
    growth = float(rng.uniform(15, 120))  # days from onset to full size
    habits = _Habits.draw(rng)
    times = np.sort(np.r_[rng.uniform(0, days, fleet.sessions), days - LATE_DAYS * rng.random(fleet.late) ** 2])
    drift = _Drift(fault, onset, growth, days)
    return Vehicle(
        name=f"sim-{seed}-{number:04d}",
        fault=fault,
        onset_day=onset if fault else float("inf"),
        capacity=np.clip(1 + spread * rng.standard_normal(CELLS), 0.9, 1.1),
        resistance=np.clip(1 + 3 * spread * rng.standard_normal(CELLS), 0.8, 1.4),
        balance=off * rng.standard_normal(CELLS),
        wander=0.5 * off * rng.standard_normal(CELLS),
        cooling=(1 + rng.uniform(0.0, 0.3) * np.abs(place) + 0.04 * rng.standard_normal(CELLS)).clip(0.6, 1.6),
        health=health,
        km=(age * 365 * km_day, (age * 365 + days) * km_day),
        days=days,
        driver=habits.driver,
        soc_error=float(rng.normal(0, 0.015)),
        sensors=draw_sensors(1, CELLS, PROBES, SHUNT_A, rng),
        voltage_gain=float(1 + rng.normal(0, 0.001)),
        sessions=tuple(habits.session(i, float(day), begins, drift, rng) for i, day in enumerate(times)),
    )


def draw_fault(kind: Kind, rng: np.random.Generator) -> Fault:
    """Size by logarithm over the kind's whole range."""
    low, high = RANGES[kind]
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    cell, sensor = int(rng.integers(CELLS)), "cell"
    if kind == "imbalance" and rng.random() < 0.75:
        size = -size  # a cell that leaks, or whose balancer bleeds it, is the usual case
    if kind == "sensor_drift":
        sensor = str(rng.choice(["cell", "probe", "current"], p=[0.5, 0.3, 0.2]))
        size *= float(rng.choice([-1, 1]))
        cell = int(rng.integers(PROBES)) if sensor == "probe" else cell
    names: dict[str, Sensor] = {"cell": "cell", "probe": "probe", "current": "current"}
    return Fault(kind, size, cell, names[sensor])


@dataclass(frozen=True, slots=True)
class _Drift:
    """How far a fault has grown on a day, and how far the failing cell's charge is off by then."""

    fault: Fault | None
    onset: float
    growth: float
    days: float

    def grown(self, day: float) -> float:
        """0..1. A short's conductance grows exponentially, and is found out when the cell has lost SHORT_TAKES."""
        if self.fault is None or day < self.onset:
            return 0.0
        if self.fault.kind == "internal_short":
            grown = float(np.exp((day - self.days) / self._fold_days()))
            return grown if grown * SHORT_BEGINS > self.fault.size else 0.0
        return min(1.0, 0.1 + 0.9 * (day - self.onset) / self.growth)

    def imbalance(self, day: float) -> float:
        if self.fault is None or day < self.onset:
            return 0.0
        if self.fault.kind == "imbalance":
            return self.fault.at(self.grown(day))
        if self.fault.kind != "internal_short":
            return 0.0
        off = 0.0
        until = np.linspace(self.onset, day, max(2, int((day - self.onset) * 4)))
        for before, now in pairwise(until):
            lost = self._lost_a_day() * self.grown(float(before)) * (now - before)
            off = min(0.0, off - lost + BLEED_PER_DAY * (now - before))
        return max(off, -SHORT_TAKES)

    def _lost_a_day(self) -> float:
        """SoC, at full size."""
        assert self.fault is not None
        return NOMINAL_V / self.fault.size * 24 / NOMINAL_AH

    def _fold_days(self) -> float:
        return float(min(self.growth / 3, SHORT_TAKES / self._lost_a_day()))


@dataclass(frozen=True, slots=True)
class _Habits:
    """Where and how a vehicle lives."""

    driver: Driver
    mean: float  # degC over the year
    swing: float
    garage: float  # 0 outside .. 1 in a warm garage
    fast: float  # share of fast charges
    power: float  # W at home
    until: float  # V of the highest cell
    empty: float  # SoC at which it is usually plugged in

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Habits":
        return cls(
            Driver(float(rng.uniform(0, 2)), float(rng.beta(2, 2))),
            float(rng.uniform(7, 21)),
            float(rng.uniform(5, 12)),
            float(rng.beta(1, 2)),
            float(rng.beta(1, 2)),
            float(rng.choice(CHARGERS)),
            float(rng.uniform(4.08, 4.18)),
            float(rng.uniform(0.15, 0.5)),
        )

    def session(self, number: int, day: float, begins: float, drift: _Drift, rng: np.random.Generator) -> Session:
        use: Use = "charge" if rng.random() < 0.5 else "drive"
        start = begins + day * DAY_S
        year, hour = (start / DAY_S) % 365.25, (start / 3600) % 24
        air = self.mean - self.swing * np.cos(2 * np.pi * (year - 20) / 365.25)
        air += -3 * np.cos(2 * np.pi * (hour - 3) / 24) + rng.normal(0, 2.5)
        air = float(air + self.garage * 0.5 * (16 - air))
        fast = use == "charge" and rng.random() < self.fast
        warm = float(rng.exponential(6.0 if use == "charge" else 2.0))
        soc = rng.normal(self.empty, 0.12) if use == "charge" else rng.uniform(0.45, 0.97)
        return Session(
            number=number,
            use=use,
            day=day,
            start_s=start,
            soc=float(np.clip(soc, 0.08, 0.75 if use == "charge" else 0.97)),
            ambient=air,
            warm=min(warm, 18.0),
            power=float(rng.choice(FAST_CHARGERS)) if fast else self.power,
            until=self.until,
            active=fast or air + warm > 30,
            grown=drift.grown(day),
            imbalance=drift.imbalance(day),
        )
