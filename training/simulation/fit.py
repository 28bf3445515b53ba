"""Fits the simulated cell's tables to SPMe: fourteen numbers a temperature, by least squares on the pack model itself.

What is known of the parameter set is taken from it (both electrodes' curves, capacity, stoichiometries, activation
energies for the first guess); what an equivalent circuit must approximate is fitted.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from services.sensor.simulated.cell import FORMAT, PARAMETERS, SIGNED, Cell, build_cell
from training.simulation import spme
from training.simulation.isothermal import simulate
from training.simulation.reference import Trajectory

Doubles = NDArray[np.float64]

TEMPERATURES: Final = (-10.0, 0.0, 10.0, 25.0, 40.0, 55.0)
SOC_FROM, SOC_TO, SOC_STEP = -0.4, 1.4, 0.002
NUDGE: Final = 0.01  # relative, for the derivatives: float32 tells no smaller one
GUESS: Final = {  # at 25 degC; activation energy [J/mol] of what it grows with, as the parameter set has it
    "fast_s": (36.0, 28e3),
    "slow_s": (290.0, 25e3),
    "positive_now": (1.5e-3, 25e3),
    "positive_fast": (7.5e-3, 25e3),
    "positive_slow": (15e-3, 25e3),
    "negative_now": (0.9e-3, 30e3),
    "negative_fast": (2.8e-3, 30e3),
    "ohmic": (6.3e-3, 8e3),
    "electrolyte": (6.2e-3, 8e3),
    "electrolyte_bend": (-1e-4, 20e3),
    "exchange_positive": (9.0, -17.8e3),
    "exchange_negative": (1.15, -35e3),
    "salt_negative": (0.09, 15e3),
    "salt_positive": (0.08, 15e3),
}


def fit(cell: Cell, temperature: float, trajectories: Sequence[Trajectory]) -> tuple[dict[str, float], float]:
    """Parameters at that temperature, and the RMSE [V] over the trajectories, which weigh by their length."""
    profiles = [t.reached for t in trajectories]
    longest = max(len(t.voltage) for t in trajectories)
    measured = np.full((len(profiles), longest), np.nan)
    for i, trajectory in enumerate(trajectories):
        measured[i, : len(trajectory.voltage)] = trajectory.voltage
    known = np.isfinite(measured)
    guess = np.array([first_guess(temperature)[name] for name in PARAMETERS])

    def residuals(places: Doubles) -> Doubles:
        """(sets, n) mV; places: (sets, parameters) relative to the guess."""
        voltage = simulate(cell, temperature, profiles, _values(places, guess))
        return np.asarray(1e3 * (voltage - measured)[:, known], np.float64)

    def derivatives(place: Doubles) -> Doubles:
        nudged = np.concatenate([place + NUDGE * np.eye(len(place)), place - NUDGE * np.eye(len(place))])
        found = residuals(nudged)
        return np.asarray((found[: len(place)] - found[len(place) :]).T / (2 * NUDGE), np.float64)

    solved = least_squares(lambda place: residuals(place[None])[0], np.zeros(len(guess)), jac=derivatives, max_nfev=40)
    values = _values(solved.x[None], guess)[0]
    rmse = float(np.sqrt(np.mean(residuals(solved.x[None])[0] ** 2)) * 1e-3)
    return dict(zip(PARAMETERS, values.tolist(), strict=True)), rmse


def _values(places: Doubles, guess: Doubles) -> Doubles:
    """From places around the guess to parameters: most by logarithm, those that may change sign linearly."""
    signed = np.isin(PARAMETERS, SIGNED)
    return np.where(signed, guess * (1 + places), guess * np.exp(np.where(signed, 0.0, places)))


def first_guess(temperature: float) -> dict[str, float]:
    inverse = (1 / (temperature + 273.15) - 1 / 298.15) / 8.314462618
    return {name: float(value * np.exp(energy * inverse)) for name, (value, energy) in GUESS.items()}


def curves_of(electrodes: spme.Electrodes) -> Cell:
    """A cell with the reference's curves; its parameters are to be fitted."""
    return build_cell(_content(electrodes, {25.0: first_guess(25.0), 26.0: first_guess(26.0)}, {}))


def write_cell(path: Path, fitted: dict[float, dict[str, float]], about: dict[str, str]) -> None:
    """The file that services/sensor/simulated/cell.py reads."""
    path.write_text(json.dumps(_content(spme.electrodes(), fitted, about)) + "\n")


def _content(
    electrodes: spme.Electrodes, fitted: dict[float, dict[str, float]], about: dict[str, str]
) -> dict[str, Any]:
    places = np.arange(SOC_FROM, SOC_TO + SOC_STEP / 2, SOC_STEP)
    curves = {}
    for name, (empty, full) in (("Positive", electrodes.positive), ("Negative", electrodes.negative)):
        share = np.clip(empty + (full - empty) * places, 1e-3, 1 - 1e-3)
        curves[name] = [round(v, 5) for v in spme.potential(name, share).tolist()]
    temperatures = sorted(fitted)
    return {
        "format": FORMAT,
        "about": about,
        "capacity_ah": round(electrodes.capacity_ah, 5),
        "stoichiometry": {"positive": electrodes.positive, "negative": electrodes.negative},
        "soc": {"low": SOC_FROM, "step": SOC_STEP},
        "temperatures": temperatures,
        "parameters": {name: [float(f"{fitted[t][name]:.5g}") for t in temperatures] for name in PARAMETERS},
        "positive_v": curves["Positive"],
        "negative_v": curves["Negative"],
    }
