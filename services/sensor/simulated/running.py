"""One simulated pack as it runs: what is asked of it, what fails in it, what its sensors say. Pure: time is given."""

import numpy as np

from services.bus.messages import Values
from services.sensor.simulated.cell import reference_cell
from services.sensor.simulated.config import Charge, Drive, PackConfig
from services.sensor.simulated.duty import Charger, Drives, drive_current
from services.sensor.simulated.faults import apply, remember
from services.sensor.simulated.measuring import DS18B20_HIGH, draw_sensors
from services.sensor.simulated.pack import HEAT_CAPACITY, KG_PER_AH, Build, Floats, Packs

FULL_SCALE_C = 6.0  # C rate that gives the shunt's full scale
CONDUCTION_W_K_AH = 0.007  # between neighbours, of each Ah of their size
VEHICLE_WH = 96 * 3.65 * 60  # of the car whose drives are driven
PROBE_DIES = DS18B20_HIGH + 25  # degC
LONGEST_STEP_S = 10.0
RESISTANCE_SPREAD = 3.0  # of the capacity's


class RunningPack:
    """A pack of a configuration. Times are seconds since it began.

    Args:
        number: of the pack in its file; another one has other spreads.
    """

    def __init__(self, config: PackConfig, seed: int, number: int) -> None:
        self._config, self._rng = config, np.random.default_rng((seed, number))
        self._packs = Packs(reference_cell(), self._build(), refresh=1)
        self._sensors = draw_sensors(1, config.cells, config.probes, FULL_SCALE_C * config.capacity_ah, self._rng)
        self._healthy = remember(self._packs, self._sensors)
        self._offset = np.zeros(len(config.faults))  # SoC that each imbalance has brought so far
        self._soc, self._current, self._elapsed = config.soc, np.zeros(1, np.float32), 0.0
        self._phase, self._left = -1, 0.0
        self._drives, self._charger = Drives([], self._rng), self._new_charger(0.0, 4.2)
        self._dead = np.zeros(config.probes, np.bool_)

    def _build(self) -> Build:
        config, rng, shape = self._config, self._rng, (1, self._config.cells)
        capacity = config.capacity_ah * config.health * (1 + config.spread * rng.standard_normal(shape))
        relative = capacity / np.median(capacity)
        wear = 1 + 2 * (1 - config.health)
        resistance = wear * (1 + RESISTANCE_SPREAD * config.spread * rng.standard_normal(shape))
        mass = KG_PER_AH * config.capacity_ah
        cooling = mass * HEAT_CAPACITY / (60 * config.cooling_minutes)
        balance = 0.5 * config.spread * rng.standard_normal(shape)
        return Build(
            capacity_ah=capacity.astype(np.float32),
            resistance=np.clip(resistance, 0.5, 3.0).astype(np.float32),
            soc=np.clip(1 - (1 - config.soc) / relative + balance, 0.01, 1.0),
            temperature=np.full(shape, config.ambient, np.float32),
            mass_kg=mass,
            cooling_w_k=np.full(shape, cooling, np.float32),
            conduction_w_k=CONDUCTION_W_K_AH * config.capacity_ah,
            coolant=np.full(1, config.ambient, np.float32),
        )

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        while seconds > 1e-9:
            dt = min(seconds, LONGEST_STEP_S)
            self._elapsed += dt
            seconds -= dt
            self._break()
            self._current = self._asked(dt)
            self._packs.step(self._current, dt)
            self._read_current = self._sensors.current(self._current, self._rng)
            counted = float(self._read_current[0]) * dt / 3600 / self._config.capacity_ah
            self._soc = min(max(self._soc + counted, 0.0), 1.0)

    def read(self) -> tuple[dict[str, Values], dict[str, str]]:
        """(channels, faults) as a Reading has them."""
        cells = self._sensors.cells(self._packs.voltage, self._rng)[0]
        probes = self._sensors.probes(self._packs.temperature)[0]
        self._dead |= self._packs.temperature[0, self._sensors.probe_cell] > PROBE_DIES
        channels: dict[str, Values] = {
            "voltage": round(float(cells.sum()), 3),
            "current": round(float(self._read_current[0]), 4),
            "soc": round(self._soc, 5),
            "cell_voltages": [round(v, 4) for v in cells.tolist()],
            "temperatures": probes.tolist(),
        }
        return channels, {f"temperatures[{i}]": "no_answer" for i in np.nonzero(self._dead)[0].tolist()}

    # --- what is asked ----------------------------------------------------------------------------------------------

    def _asked(self, dt: float) -> Floats:
        self._left -= dt
        if self._left < 0:
            self._phase = (self._phase + 1) % len(self._config.day)
            self._begin()
        phase, nominal = self._config.day[self._phase], self._config.capacity_ah
        if isinstance(phase, Drive):
            share = self._config.cells * 3.65 * nominal / VEHICLE_WH
            power = self._drives.power(max(1, round(dt))).mean(axis=0) * share
            return drive_current(self._packs, power, nominal)
        if isinstance(phase, Charge):
            return self._charger.current(self._packs, nominal, dt)
        return np.zeros(1, np.float32)

    def _begin(self) -> None:
        phase = self._config.day[self._phase]
        self._left = 60 * phase.minutes
        if isinstance(phase, Drive):
            self._drives = Drives([phase.driver], self._rng)
        elif isinstance(phase, Charge):
            self._charger = self._new_charger(phase.c_rate, phase.until_v)

    def _new_charger(self, c_rate: float, until_v: float) -> Charger:
        return Charger(np.array([np.inf]), np.array([c_rate * self._config.capacity_ah]), np.array([until_v]))

    # --- what fails -------------------------------------------------------------------------------------------------

    def _break(self) -> None:
        for i, planned in enumerate(self._config.faults):
            grown = planned.grown(self._elapsed)
            if grown == 0:
                continue
            apply(planned.fault, grown, 0, self._packs, self._sensors, self._healthy)
            if planned.kind == "imbalance":
                self._packs.soc[0, planned.cell] += planned.fault.at(grown) - self._offset[i]
                self._offset[i] = planned.fault.at(grown)
