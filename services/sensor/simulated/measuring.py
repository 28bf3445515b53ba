"""What sensors make of true values: an ADS1115 at each cell and at the shunt, DS18B20 probes. Pure.

Texas Instruments SBAS444 (ADS1115): 16 bits, signed, over the chosen range; noise of its input below one step at 8 to
475 samples per second, and about one step at 860; gain error 0.01 % typical, 0.15 % at most; offset up to 3 steps.
Maxim DS18B20: 12 bits = 0.0625 degC; within 0.5 degC from -10 to 85 degC.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ADS1115_RANGES: Final = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256)  # V, full scale to one side
ADS1115_STEPS: Final = 32768  # to one side
ADS1115_NOISE: Final = 0.5  # steps rms: Table 1 gives "one step" where less cannot be seen
ADS1115_GAIN_ERROR: Final = 0.0005  # sd: the chip's 0.01 % typical and, above all, the divider's 0.05 % resistors
ADS1115_OFFSET: Final = 1.0  # steps, sd
ADS1115_OFFSET_MAX: Final = 3.0  # steps
DS18B20_STEP: Final = 0.0625  # degC
DS18B20_ERROR: Final = 0.2  # degC, sd of a probe's offset
DS18B20_ERROR_MAX: Final = 0.5  # degC
DS18B20_LOW, DS18B20_HIGH = -55.0, 125.0  # degC; what it reads beyond these is its end
SHUNT_FULL_SCALE: Final = 0.256  # V: range of the ADS1115 at the shunt


def quantize(values: Floats, step: float) -> Floats:
    """To whole steps, in place."""
    values *= 1.0 / step
    np.rint(values, out=values)
    values *= step
    return values


@dataclass(slots=True)
class Sensors:
    """The sensors of packs, each with its own error. Arrays are float32.

    Args:
        cell_gain, cell_offset: (packs, cells), the latter [V].
        cell_step: [V] of the ADS1115's range.
        current_gain, current_offset: (packs,), the latter [A].
        current_step: [A] of the ADS1115 at the shunt.
        probe_cell: (probes,) which cell each probe sits on.
        probe_offset: (packs, probes) [degC].
    """

    cell_gain: Floats
    cell_offset: Floats
    cell_step: float
    current_gain: Floats
    current_offset: Floats
    current_step: float
    probe_cell: NDArray[np.intp]
    probe_offset: Floats

    def cells(self, voltage: Floats, rng: np.random.Generator) -> Floats:
        """(packs, cells) as read [V]."""
        read = rng.standard_normal(voltage.shape, np.float32)
        read *= ADS1115_NOISE * self.cell_step
        read += self.cell_offset
        read += voltage * self.cell_gain
        np.clip(read, 0.0, self.cell_step * (ADS1115_STEPS - 1), out=read)
        return quantize(read, self.cell_step)

    def current(self, current: Floats, rng: np.random.Generator) -> Floats:
        """(packs,) as read [A]."""
        read = rng.standard_normal(current.shape, np.float32)
        read *= ADS1115_NOISE * self.current_step
        read += self.current_offset + current * self.current_gain
        limit = self.current_step * (ADS1115_STEPS - 1)
        np.clip(read, -limit, limit, out=read)
        return quantize(read, self.current_step)

    def probes(self, temperature: Floats) -> Floats:
        """(packs, probes) as read [degC]; temperature: (packs, cells)."""
        read = temperature[:, self.probe_cell] + self.probe_offset
        np.clip(read, DS18B20_LOW, DS18B20_HIGH, out=read)
        return quantize(read, DS18B20_STEP)


def draw_sensors(
    packs: int, cells: int, probes: int, current_max: float, rng: np.random.Generator, full_scale: float = 6.144
) -> Sensors:
    """Sensors with errors as the data sheets allow them.

    Args:
        current_max: [A] that gives the shunt's full scale (range 0.256 V).
        full_scale: ADS1115's range at the cells [V].
    Raises:
        ValueError: the ADS1115 has no such range.
    """
    if full_scale not in ADS1115_RANGES:
        raise ValueError(f"an ADS1115 has no range of {full_scale:g} V; it has {ADS1115_RANGES}")
    step = full_scale / ADS1115_STEPS
    current_step = current_max / ADS1115_STEPS

    def drawn(*shape: int, sd: float, most: float) -> Floats:
        return np.asarray(np.clip(sd * rng.standard_normal(shape), -most, most), np.float32)

    return Sensors(
        1 + drawn(packs, cells, sd=ADS1115_GAIN_ERROR, most=3 * ADS1115_GAIN_ERROR),
        drawn(packs, cells, sd=ADS1115_OFFSET, most=ADS1115_OFFSET_MAX) * np.float32(step),
        step,
        1 + drawn(packs, sd=0.002, most=0.006),
        drawn(packs, sd=0.0002, most=0.0006) * np.float32(current_max),
        current_step,
        np.linspace(0, cells - 1, probes).round().astype(np.intp),
        drawn(packs, probes, sd=DS18B20_ERROR, most=DS18B20_ERROR_MAX),
    )
