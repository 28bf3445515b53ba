"""Fits the simulated cell's tables to SPMe: thirteen numbers a temperature, by least squares on the pack model itself.

What is known of the parameter set is taken from it (both electrodes' curves, capacity, stoichiometries, activation
energies for the first guess); what an equivalent circuit must approximate is fitted.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from services.sensor.simulated.cell import FORMAT, PARAMETERS, SIGNED, Cell, Floats
from services.sensor.simulated.pack import Build, Packs
from training.simulation.profiles import STEP_S, Profile

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


class Trajectory(NamedTuple):
    """What SPMe answers to a profile: voltage (n,) at the end of each step [V]; it may end before the profile."""

    profile: Profile
    voltage: Doubles


class _Trials(Cell):
    """A cell whose parameters are given, not looked up: one set a pack."""

    __slots__ = ("given",)

    given: Floats

    def at(self, temperature: Floats) -> Floats:
        return self.given


def simulate(cell: Cell, temperature: float, profiles: Sequence[Profile], sets: Doubles | None = None) -> Doubles:
    """(sets, profiles, steps) V of the pack model, NaN after a profile's end.

    Args:
        sets: (n, len(PARAMETERS)) to be tried instead of the cell's own at that temperature.
    """
    tried = 1 if sets is None else len(sets)
    steps, packs = max(len(p.current) for p in profiles), tried * len(profiles)
    currents = np.zeros((steps, len(profiles)), np.float32)
    for i, profile in enumerate(profiles):
        currents[: len(profile.current), i] = profile.current
    currents = np.tile(currents, (1, tried))
    column = np.ones((packs, 1), np.float32)
    build = Build(
        capacity_ah=np.float32(cell.capacity_ah) * column,
        resistance=column,
        soc=np.tile([p.soc for p in profiles], tried)[:, None],
        temperature=np.float32(temperature) * column,
        mass_kg=1e12,  # isothermal
        cooling_w_k=0 * column,
        conduction_w_k=0.0,
        coolant=np.full(packs, temperature, np.float32),
    )
    running = Packs(cell if sets is None else _trials(cell, np.repeat(sets, len(profiles), axis=0)), build)
    made = np.empty((steps, packs))
    for step in range(steps):
        running.step(currents[step], STEP_S)
        made[step] = running.voltage[:, 0]
    voltage = made.T.reshape(tried, len(profiles), steps)
    for i, profile in enumerate(profiles):
        voltage[:, i, len(profile.current) :] = np.nan
    return voltage


def _trials(cell: Cell, sets: Doubles) -> _Trials:
    made = _Trials(*(getattr(cell, name) for name in Cell.__slots__))
    object.__setattr__(made, "given", sets.T[:, :, None].astype(np.float32))
    return made


def fit(cell: Cell, temperature: float, trajectories: Sequence[Trajectory]) -> tuple[dict[str, float], float]:
    """Parameters at that temperature, and the RMSE [V] over the trajectories, which weigh by their length."""
    profiles = [Profile(t.profile.name, t.profile.soc, t.profile.current[: len(t.voltage)]) for t in trajectories]
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


def write_cell(path: Path, fitted: dict[float, dict[str, float]], about: dict[str, str]) -> None:
    """The file that services/sensor/simulated/cell.py reads."""
    from training.simulation import spme

    places = np.arange(SOC_FROM, SOC_TO + SOC_STEP / 2, SOC_STEP)
    electrodes = spme.electrodes()
    curves = {}
    for name, (empty, full) in (("Positive", electrodes.positive), ("Negative", electrodes.negative)):
        share = np.clip(empty + (full - empty) * places, 1e-3, 1 - 1e-3)
        curves[name] = [round(v, 5) for v in spme.potential(name, share).tolist()]
    temperatures = sorted(fitted)
    content = {
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
    path.write_text(json.dumps(content) + "\n")
