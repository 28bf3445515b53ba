"""The reference: one LG M50 cell by PyBaMM's single particle model with electrolyte (SPMe).

Parameter set OKane2022 (O'Kane et al., Physical Chemistry Chemical Physics 24 (2022) 7909; without its degradation);
model of Marquis et al., Journal of The Electrochemical Society 166 (2019) A3693.
"""

import os
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")

import pybamm

Doubles = NDArray[np.float64]

PARAMETER_SET: Final = "OKane2022"
CUT_OFF_V: Final = (2.7, 4.22)  # a trajectory ends where it leaves these
EDGE_S: Final = 0.01  # the current changes within this time at the end of a step


class Electrodes(NamedTuple):
    """capacity_ah between 2.5 V and 4.2 V at rest; stoichiometries at SoC 0 and 1."""

    capacity_ah: float
    positive: tuple[float, float]
    negative: tuple[float, float]


@cache
def _parameters() -> Any:
    return pybamm.ParameterValues(PARAMETER_SET)


@cache
def electrodes() -> Electrodes:
    parameters = _parameters()
    solver = pybamm.lithium_ion.ElectrodeSOHSolver(parameters)
    empty_n, full_n, full_p, empty_p = (float(v) for v in solver.get_min_max_stoichiometries())
    lithium = parameters.evaluate(solver.param.n.Q_init) * (full_n - empty_n)
    return Electrodes(float(lithium), (empty_p, full_p), (empty_n, full_n))


def potential(electrode: str, stoichiometry: Doubles) -> Doubles:
    """Of the `Positive` or `Negative` electrode against lithium [V]."""
    place = pybamm.InputParameter("place")
    curve = _parameters().process_symbol(_parameters()[f"{electrode} electrode OCP [V]"](place))
    return np.array([np.asarray(curve.evaluate(inputs={"place": float(s)})).item() for s in stoichiometry])


def run(temperature: float, soc: float, current: Doubles, step_s: float) -> Doubles:
    """Voltage at the end of each step [V], isothermal, from rest; shorter than `current` if it reached a cut-off.

    Args:
        temperature: degC. soc: as it begins, 0..1. current: (n,) A, positive = charging, held during each step.
    """
    parameters = _parameters().copy()
    edges = step_s * np.arange(len(current) + 1)
    times = np.r_[np.stack([edges[:-1], edges[1:] - EDGE_S], axis=1).ravel(), edges[-1] + 1.0]
    discharge = np.r_[np.repeat(-current, 2), -current[-1]]
    parameters.update(
        {
            "Lower voltage cut-off [V]": 1.0,
            "Upper voltage cut-off [V]": 5.0,
            "Ambient temperature [K]": 273.15 + temperature,
            "Initial temperature [K]": 273.15 + temperature,
            "Current function [A]": pybamm.Interpolant(times, discharge, pybamm.t),
        }
    )
    low, high = electrodes().negative
    full, empty = electrodes().positive[1], electrodes().positive[0]
    most_n = parameters["Maximum concentration in negative electrode [mol.m-3]"]
    most_p = parameters["Maximum concentration in positive electrode [mol.m-3]"]
    parameters.update(
        {
            "Initial concentration in negative electrode [mol.m-3]": (low + (high - low) * soc) * most_n,
            "Initial concentration in positive electrode [mol.m-3]": (empty + (full - empty) * soc) * most_p,
        }
    )
    model = pybamm.lithium_ion.SPMe()
    simulation = pybamm.Simulation(model, parameter_values=parameters, solver=pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-8))
    ends = edges[1:] - EDGE_S
    changes = 1 + np.nonzero(np.diff(current))[0]  # where the solver must not step over the edge
    breaks = np.unique(np.r_[0.0, edges[changes] - EDGE_S, edges[changes], edges[-1]])
    solution = simulation.solve(breaks, t_interp=ends)
    reached = ends[ends <= solution.t[-1]]
    voltage = np.asarray(solution["Terminal voltage [V]"](reached), np.float64)
    out = np.nonzero((voltage < CUT_OFF_V[0]) | (voltage > CUT_OFF_V[1]))[0]
    return voltage[: out[0]] if len(out) else voltage


def about() -> dict[str, str]:
    """What the tables were made with."""
    return {"model": "SPMe", "parameter_set": PARAMETER_SET, "pybamm": str(pybamm.__version__)}
