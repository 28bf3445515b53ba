"""The simulated cell's tables: two electrodes' potentials over SoC, two RC pairs and resistances over temperature.

An equivalent circuit of the LG M50 (21700, NMC 811 against graphite-SiOx, 5 Ah), fitted to PyBaMM's SPMe with the
parameter set OKane2022 by `python -m training simulation fit`; docs/simulation.md has its figures.

    v = Up(s + p) - Un(s + n) + ohmic i + (electrolyte + bend i_fast) i_fast + eta(i / i0p) + eta(i / i0n)
    p = p_now i + p_fast i_fast + p_slow i_slow,  n = n_now i + n_fast i_fast,  eta(x) = 2 RT/F asinh(x / 2)

s is the SoC by charge, i the current, i_fast and i_slow the currents through the two RC pairs. What an RC pair adds is
charge at an electrode's surface: it shifts the place where that electrode's own curve is read, so that a large load
follows the curve's bends.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FILE: Final = Path(__file__).with_name("cell.json")
FORMAT: Final = 1
PARAMETERS: Final = (
    "fast_s",  # time constants of the two RC pairs [s]
    "slow_s",
    "positive_now",  # shift of the place on the positive electrode's curve [SoC / A]
    "positive_fast",
    "positive_slow",
    "negative_now",
    "negative_fast",
    "ohmic",  # [ohm]
    "electrolyte",
    "electrolyte_bend",  # what the electrolyte adds to that where its salt runs out [ohm / A]
    "exchange_positive",  # exchange current in the middle of the electrode's range [A]
    "exchange_negative",
    "salt_negative",  # how charging drains the salt there [1 / A]
    "salt_positive",
)
SIGNED: Final = ("positive_now", "negative_now", "electrolyte_bend")  # not interpolated by logarithm
FINE: Final = 0.25  # degC, step of the tables over temperature
COLDEST, HOTTEST = -10.0, 60.0  # degC; outside the end's values hold


@dataclass(frozen=True, slots=True)
class Cell:
    """Tables of the reference cell.

    Args:
        capacity_ah: between SoC 0 and 1 (2.5 V and 4.2 V at rest).
        low, step: SoC of the first entry of the tables over SoC, and from entry to entry. They reach beyond 0..1,
            because a surface does under load.
        positive_v, negative_v: (n,) potentials against lithium [V].
        positive_shape, negative_shape: (n,) exchange current there, relative to the middle of the electrode's range.
        parameters: (len(PARAMETERS), m) over temperature, from COLDEST in steps of FINE.
    """

    capacity_ah: float
    low: float
    step: float
    positive_v: Floats
    negative_v: Floats
    positive_shape: Floats
    negative_shape: Floats
    parameters: Floats

    @property
    def voltage(self) -> Floats:
        """(n,) at rest [V]."""
        return np.asarray(self.positive_v - self.negative_v, np.float32)

    def at(self, temperature: Floats) -> Floats:
        """(len(PARAMETERS), *shape): parameters at those temperatures [degC]."""
        place = (np.clip(temperature, COLDEST, HOTTEST) - COLDEST) * (1 / FINE)
        index = np.minimum(place.astype(np.intp), self.parameters.shape[1] - 2)
        part = (place - index).astype(np.float32)
        below = np.take(self.parameters, index, axis=1)
        above = np.take(self.parameters, index + 1, axis=1)
        above -= below
        above *= part
        above += below
        return np.asarray(above, np.float32)

    def soc_at(self, voltage: float) -> float:
        """SoC at which the cell rests at `voltage` [V]."""
        return float(self.low + self.step * np.interp(voltage, self.voltage, np.arange(len(self.voltage))))

    def rest_voltage(self, soc: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """V at rest, at SoC `soc`."""
        places = self.low + self.step * np.arange(len(self.voltage))
        return np.asarray(np.interp(soc, places, self.voltage), np.float64)


@cache
def reference_cell() -> Cell:
    """The shipped one."""
    return read_cell(FILE)


def read_cell(path: Path) -> Cell:
    """Raises ValueError when the file is of another format."""
    content = json.loads(path.read_text())
    if content.get("format") != FORMAT:
        raise ValueError(f"{path}: format {content.get('format')}, this version reads {FORMAT}")
    return build_cell(content)


def build_cell(content: dict[str, Any]) -> Cell:
    """From what the file holds."""
    low, step = content["soc"]["low"], content["soc"]["step"]
    places = low + step * np.arange(len(content["positive_v"]))

    def shape(electrode: str) -> Floats:
        empty, full = content["stoichiometry"][electrode]
        share = np.clip(empty + (full - empty) * places, 1e-3, 1 - 1e-3)
        return np.asarray(2 * np.sqrt(share * (1 - share)), np.float32)

    return Cell(
        content["capacity_ah"],
        low,
        step,
        np.array(content["positive_v"], np.float32),
        np.array(content["negative_v"], np.float32),
        shape("positive"),
        shape("negative"),
        _over_temperature(content["temperatures"], content["parameters"]),
    )


def _over_temperature(nodes: list[float], parameters: dict[str, list[float]]) -> Floats:
    """Between the fitted temperatures: logarithm against 1 / T, as Arrhenius has it."""
    fine = np.arange(COLDEST, HOTTEST + FINE, FINE)
    at, known = -1 / (fine + 273.15), -1 / (np.array(nodes) + 273.15)
    rows = [
        np.interp(at, known, parameters[name])
        if name in SIGNED
        else np.exp(np.interp(at, known, np.log(parameters[name])))
        for name in PARAMETERS
    ]
    return np.array(rows, np.float32)
