"""Packs of cells in series, many at once: charge, voltage, heat. Pure; float32, in place.

A step is exact for a current that holds still during it, whatever its length: the RC pairs are exponentials. Those, and
all that depends on temperature, are computed anew every `REFRESH` steps, which is what makes thousands of packs cheap.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.sensor.simulated.cell import PARAMETERS, Cell

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

REFRESH: Final = 16  # steps; 160 s of a fleet's snippets, in which a healthy cell warms by less than 1 degC
HEAT_CAPACITY: Final = 950.0  # J/(kg K)
KG_PER_AH: Final = 0.0136  # an LG M50 of 5 Ah weighs 68 g
GAS: Final = 8.314462618
FARADAY: Final = 96485.33212
KELVIN: Final = 273.15

# Self-heating, one lumped reaction: it outruns an EV cell's cooling at about 100 degC and needs minutes from there.
# Orders of magnitude of published accelerating-rate calorimetry, not one cell's: Feng et al., Energy Storage Materials
# 10 (2018) 246-267.
REACTION_ENERGY: Final = 600.0e3  # J per kg of cell
REACTION_RATE: Final = 2.6e12  # 1 / s
REACTION_BARRIER: Final = 120.0e3  # J / mol
REACTS_FROM: Final = 60.0  # degC; below it is nothing
SEPARATOR_MELTS: Final = 135.0  # degC; the cell is then shorted within: its voltage is gone, its charge turns to heat
MELTED: Final = 0.02  # of the voltage is left
HOTTEST: Final = 900.0  # degC; what is left of a cell gets no hotter


@dataclass(slots=True)
class Build:
    """What packs are made of. Arrays are (packs, cells) float32 unless said otherwise.

    Args:
        capacity_ah: of each cell (a group in parallel counts as one).
        resistance: relative to a new cell of that capacity.
        soc: at the start, 0..1, float64: a leak of milliamperes adds less than float32 holds.
        temperature: at the start [degC].
        mass_kg: of each cell; one number.
        cooling_w_k: from each cell to the coolant [W/K].
        conduction_w_k: between neighbours [W/K]; one number.
        coolant: (packs,) its temperature [degC].
    """

    capacity_ah: Floats
    resistance: Floats
    soc: Doubles
    temperature: Floats
    mass_kg: float
    cooling_w_k: Floats
    conduction_w_k: float
    coolant: Floats


class Packs:
    """The running packs.

    What may be changed between steps: `leak_s` (conductance of a short inside the cell [S]), `joint_ohm` (resistance
    added between cell and sense wire), `cooling_w_k`, `resistance`, `capacity_ah`, `coolant`, `soc`.

    Attributes after a step, (packs, cells): `voltage` at the sense wires [V], `temperature` [degC], `soc`.
    """

    def __init__(self, cell: Cell, build: Build, refresh: int = REFRESH) -> None:
        self.cell, self._refresh = cell, refresh
        shape = build.soc.shape
        self.capacity_ah, self.resistance = build.capacity_ah.copy(), build.resistance.copy()
        self.soc, self.temperature = build.soc.copy(), build.temperature.astype(np.float32)
        self.cooling_w_k, self.coolant = build.cooling_w_k.copy(), build.coolant.copy()
        self.conduction_w_k, self._mass_kg = build.conduction_w_k, build.mass_kg
        self._heat_j_k = build.mass_kg * HEAT_CAPACITY
        self.leak_s, self.joint_ohm = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.unreacted = np.ones(shape, np.float32)
        self.melted = np.zeros(shape, np.bool_)
        self.voltage = cell.rest_voltage(self.soc).astype(np.float32)
        self.inside = self.voltage.copy()  # without the joint
        self._fast, self._slow = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._work = [np.empty(shape, np.float32) for _ in range(6)]
        self._scaled, self._kept = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._index = np.empty(shape, np.intp)
        self._steps, self._last_dt = 0, 0.0
        last = len(cell.positive_v) - 2
        self._last = np.float32(last + 0.999)
        self._rise_p, self._rise_n = np.diff(cell.positive_v), np.diff(cell.negative_v)

    @property
    def pack_voltage(self) -> Floats:
        """(packs,) [V]."""
        return np.asarray(self.voltage.sum(axis=1), np.float32)

    def step(self, current: Floats, dt: float) -> None:
        """Let `current` (packs,) [A, positive = charging] flow for `dt` s."""
        if self._steps % self._refresh == 0 or dt != self._last_dt:
            self._look_up(dt)
        self._steps += 1
        load, a, b, c, d, heat = self._work
        self._currents(current[:, None], load, a, dt)
        p = self._parameters
        # open-circuit potentials where the electrodes' surfaces are; exchange currents there
        np.multiply(self._fast, p["positive_fast"], out=a)
        self._add(a, self._slow, p["positive_slow"], b)
        self._add(a, load, p["positive_now"], b)
        self._curve(a, self.cell.positive_v, self._rise_p, self.cell.positive_shape, b, c, d)
        np.multiply(self._fast, p["negative_fast"], out=a)
        self._add(a, load, p["negative_now"], heat)
        potential, worn = b, self._scaled  # b keeps the open-circuit voltage
        np.multiply(load, self.resistance, out=worn)
        overvoltage = self._transfer(worn, p["two_i0p"], c, p["salt_positive"], +1.0, d)
        kept = self._kept
        np.copyto(kept, overvoltage)
        self._curve(a, self.cell.negative_v, self._rise_n, self.cell.negative_shape, heat, c, d)
        potential -= heat
        kept += self._transfer(worn, p["two_i0n"], c, p["salt_negative"], -1.0, d)
        kept *= p["two_thermal"]
        self._add(kept, worn, p["ohmic"], a)
        np.multiply(self._fast, p["electrolyte_bend"], out=a)
        a += p["electrolyte"]
        a *= self._fast
        kept += a
        np.add(potential, kept, out=self.inside)
        if self.melted.any():
            self.inside[self.melted] *= np.float32(MELTED)
        np.multiply(self.joint_ohm, current[:, None], out=a)
        np.add(self.inside, a, out=self.voltage)
        self._warm(current[:, None], load, kept, a, heat, dt)

    # --- parts of a step --------------------------------------------------------------------------------------------

    def _currents(self, current: Floats, load: Floats, a: Floats, dt: float) -> None:
        """Current through each cell, as amperes of the reference cell; charge and RC pairs after `dt`."""
        np.multiply(self.inside, self.leak_s, out=load)
        np.subtract(current, load, out=load)
        load *= self._to_reference
        self.soc += load * (dt / 3600.0 / self.cell.capacity_ah)
        for through, decay in ((self._fast, self._fast_step), (self._slow, self._slow_step)):
            np.subtract(load, through, out=a)
            a *= decay
            through += a

    @staticmethod
    def _add(total: Floats, values: Floats, factor: Floats, work: Floats) -> None:
        np.multiply(values, factor, out=work)
        total += work

    def _curve(
        self, shift: Floats, volts: Floats, rise: Floats, shapes: Floats, out: Floats, shape: Floats, work: Floats
    ) -> None:
        """Read an electrode's curve at soc + shift: `out` the potential, `shape` of the exchange current."""
        place = shift
        place += self.soc
        place -= self.cell.low
        place *= 1.0 / self.cell.step
        np.clip(place, 0.0, self._last, out=place)
        np.copyto(self._index, place, casting="unsafe")
        place -= self._index
        np.take(volts, self._index, out=out, mode="clip")
        np.take(rise, self._index, out=work, mode="clip")
        work *= place
        out += work
        np.take(shapes, self._index, out=shape, mode="clip")

    def _transfer(self, load: Floats, two_i0: Floats, shape: Floats, salt: Floats, sign: float, work: Floats) -> Floats:
        """asinh(i / 2 i0): charge transfer (Butler-Volmer with equal coefficients), in units of 2 RT/F. In `shape`."""
        np.multiply(self._fast, salt, out=work)
        work *= sign
        work += 1.0
        np.maximum(work, 0.05, out=work)
        np.sqrt(work, out=work)
        shape *= work
        shape *= two_i0
        np.divide(load, shape, out=shape)
        return _asinh(shape, work)

    def _look_up(self, dt: float) -> None:
        """What depends on temperature or step time."""
        found = dict(zip(PARAMETERS, self.cell.at(self.temperature), strict=True))
        self._fast_step = -np.expm1(-dt / found["fast_s"])
        self._slow_step = -np.expm1(-dt / found["slow_s"])
        found["two_i0p"] = 2 * found["exchange_positive"]
        found["two_i0n"] = 2 * found["exchange_negative"]
        kelvin = np.clip(self.temperature, -40.0, 80.0) + np.float32(KELVIN)
        found["two_thermal"] = kelvin * np.float32(2 * GAS / FARADAY)
        self._parameters, self._last_dt = found, dt
        self._to_reference = np.float32(self.cell.capacity_ah) / self.capacity_ah

    # --- heat -------------------------------------------------------------------------------------------------------

    def _warm(self, current: Floats, load: Floats, over: Floats, work: Floats, heat: Floats, dt: float) -> None:
        """Losses, shorts, joints, neighbours and coolant: the cells' temperatures after `dt`."""
        np.divide(load, self._to_reference, out=heat)
        heat *= over  # amperes through the cell x overvoltage: positive both ways
        np.square(self.inside, out=work)
        work *= self.leak_s
        heat += work
        np.multiply(self.joint_ohm, np.square(current), out=work)
        heat += work
        np.subtract(self.temperature, self.coolant[:, None], out=work)
        work *= self.cooling_w_k
        heat -= work
        flow = np.diff(self.temperature, axis=1)
        flow *= self.conduction_w_k
        heat[:, :-1] += flow
        heat[:, 1:] -= flow
        heat *= dt / self._heat_j_k
        self.temperature += heat
        if self.temperature.max() > REACTS_FROM:
            self._react(dt)

    def _react(self, dt: float) -> None:
        """Self-heating and what follows: at most the energy that is left, in steps of a second."""
        hot = self.temperature > REACTS_FROM
        kelvin = self.temperature[hot].astype(np.float64) + KELVIN
        left = self.unreacted[hot].astype(np.float64)
        count = max(1, int(np.ceil(dt)))
        for _ in range(count):
            share = -np.expm1(-REACTION_RATE * np.exp(-REACTION_BARRIER / (GAS * kelvin)) * dt / count)
            kelvin = np.minimum(
                kelvin + share * left * REACTION_ENERGY * self._mass_kg / self._heat_j_k, HOTTEST + KELVIN
            )
            left = left * (1 - share)
        self.temperature[hot], self.unreacted[hot] = kelvin - KELVIN, left
        self.melted |= self.temperature > SEPARATOR_MELTS


def _asinh(values: Floats, work: Floats) -> Floats:
    """In place, by log and sqrt: a third of the time of NumPy's own, 1e-7 off."""
    np.square(values, out=work)
    work += 1.0
    np.sqrt(work, out=work)
    work += np.abs(values)
    np.log(work, out=work)
    np.copysign(work, values, out=values)
    return values
