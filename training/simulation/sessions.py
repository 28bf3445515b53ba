"""Sessions of a fleet, run in batches: what the cars' sensors say of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.sensor.simulated.cell import Cell, reference_cell
from services.sensor.simulated.duty import Charger, Drives, drive_current
from services.sensor.simulated.faults import apply, remember
from services.sensor.simulated.measuring import ADS1115_STEPS, Sensors, quantize
from services.sensor.simulated.pack import KG_PER_AH, Build, Packs
from training.simulation.fleet import CELLS, NOMINAL_AH, SHUNT_A, STEP_S, Fleet, Session, Vehicle

Floats = NDArray[np.float32]

BATCH: Final = 64  # packs; their arrays stay in the cache
COOLING_PASSIVE, COOLING_ACTIVE = 0.12, 0.8  # W/K from a cell
CONDUCTION: Final = 0.4  # W/K to a neighbour
COOLANT_ACTIVE: Final = 22.0  # degC
VOLTAGE_STEP: Final = 6.144 / ADS1115_STEPS * 100  # V: an ADS1115 behind a divider of 100
RESISTANCE_OF_WEAR: Final = 2.0  # 10 % of the capacity lost = 20 % more resistance


@dataclass(slots=True)
class Recording:
    """What the sensors said of one session; arrays are (steps,) or (steps, elements)."""

    vehicle: Vehicle
    session: Session
    voltage: Floats
    current: Floats
    soc: Floats
    cell_voltages: Floats
    temperatures: Floats


def record(fleet: Fleet, vehicles: Sequence[Vehicle]) -> Iterator[Recording]:
    """Run all sessions, charges and drives apart; the order is fixed by the fleet alone."""
    cell = reference_cell()
    for use in ("charge", "drive"):
        wanted = [(v, s) for v in vehicles for s in v.sessions if s.use == use]
        for first in range(0, len(wanted), BATCH):
            yield from _Batch(cell, fleet, wanted[first : first + BATCH]).run()


class _Batch:
    def __init__(self, cell: Cell, fleet: Fleet, wanted: Sequence[tuple[Vehicle, Session]]) -> None:
        self._fleet, self._wanted = fleet, wanted
        self._rng = np.random.default_rng([fleet.seed, *((int(v.name[-4:]) << 12) + s.number for v, s in wanted[:1])])
        health = np.array([v.health_at(s.day) for v, s in wanted])[:, None]
        capacity = np.stack([v.capacity for v, _ in wanted]) * health
        wear = 1 + RESISTANCE_OF_WEAR * (1 - health)
        active = np.array([s.active for _, s in wanted])
        ambient = np.array([s.ambient for _, s in wanted])
        cooling = np.where(active, COOLING_ACTIVE, COOLING_PASSIVE)[:, None] * np.stack([v.cooling for v, _ in wanted])
        warm = np.array([s.warm for _, s in wanted])[:, None]
        profile = 1 - 0.15 * np.abs(np.linspace(-1, 1, CELLS))
        build = Build(
            capacity_ah=(NOMINAL_AH * capacity).astype(np.float32),
            resistance=(wear * np.stack([v.resistance for v, _ in wanted])).astype(np.float32),
            soc=np.zeros((len(wanted), CELLS)),
            temperature=(ambient[:, None] + warm * profile).astype(np.float32),
            mass_kg=KG_PER_AH * NOMINAL_AH,
            cooling_w_k=cooling.astype(np.float32),
            conduction_w_k=CONDUCTION,
            coolant=np.where(active, COOLANT_ACTIVE, ambient).astype(np.float32),
        )
        self.packs = Packs(cell, build)
        self.sensors = _stack([v.sensors for v, _ in wanted])
        self._break()
        self._set_charge()

    def _break(self) -> None:
        healthy = remember(self.packs, self.sensors)
        for pack, (vehicle, session) in enumerate(self._wanted):
            if vehicle.fault is not None and session.grown > 0:
                apply(vehicle.fault, session.grown, pack, self.packs, self.sensors, healthy)

    def _set_charge(self) -> None:
        """Balanced at the top: a cell of less capacity is the lower, the emptier the pack."""
        relative = self.packs.capacity_ah / np.median(self.packs.capacity_ah, axis=1, keepdims=True)
        for pack, (vehicle, session) in enumerate(self._wanted):
            soc = 1 - (1 - session.soc) / relative[pack].astype(np.float64)
            soc += vehicle.balance + vehicle.wander * session.day / vehicle.days
            if vehicle.fault is not None:
                soc[vehicle.fault.cell if vehicle.fault.kind != "sensor_drift" else 0] += session.imbalance
            self.packs.soc[pack] = np.clip(soc, 0.01, 1.0)
        rest = self.packs.cell.rest_voltage(self.packs.soc).astype(np.float32)
        self.packs.voltage[:], self.packs.inside[:] = rest, rest

    def run(self) -> Iterator[Recording]:
        steps, dt, count = self._fleet.steps, STEP_S, len(self._wanted)
        cells = np.empty((steps, count, CELLS), np.float32)
        probes = np.empty((steps, count, len(self.sensors.probe_cell)), np.float32)
        current, voltage = np.empty((steps, count), np.float32), np.empty((steps, count), np.float32)
        gain = np.array([v.voltage_gain for v, _ in self._wanted], np.float32)
        for step, flowing in enumerate(self._currents(steps, dt)):
            self.packs.step(flowing, dt)
            cells[step] = self.sensors.cells(self.packs.voltage, self._rng)
            probes[step] = self.sensors.probes(self.packs.temperature)
            current[step] = self.sensors.current(flowing, self._rng)
            voltage[step] = quantize(self.packs.pack_voltage * gain, VOLTAGE_STEP)
        counted = np.cumsum(current.astype(np.float64), axis=0) * (dt / 3600 / NOMINAL_AH)
        for pack, (vehicle, session) in enumerate(self._wanted):
            counted_from = session.soc + vehicle.soc_error
            yield Recording(
                vehicle,
                session,
                voltage[:, pack],
                current[:, pack],
                np.clip(counted_from + counted[:, pack], 0, 1).astype(np.float32),
                cells[:, pack],
                probes[:, pack],
            )

    def _currents(self, steps: int, dt: float) -> Iterator[Floats]:
        """A step's current, decided on the packs as the steps before have left them."""
        sessions = [session for _, session in self._wanted]
        if sessions[0].use == "drive":
            drives = Drives([vehicle.driver for vehicle, _ in self._wanted], self._rng)
            for _ in range(steps):
                yield drive_current(self.packs, drives.power(round(dt)).mean(axis=0), NOMINAL_AH)
            return
        limit = np.full(len(sessions), 1.2 * NOMINAL_AH)
        power, until = np.array([s.power for s in sessions]), np.array([s.until for s in sessions])
        charger = Charger(power * 0.95, limit, until)
        for _ in range(steps):
            yield charger.current(self.packs, NOMINAL_AH, dt)


def _stack(parts: Sequence[Sensors]) -> Sensors:
    """Sensors of single packs as those of a batch."""
    first = parts[0]

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    return Sensors(
        joined("cell_gain"),
        joined("cell_offset"),
        first.cell_step,
        joined("current_gain"),
        joined("current_offset"),
        SHUNT_A / ADS1115_STEPS,
        first.probe_cell,
        joined("probe_offset"),
    )
