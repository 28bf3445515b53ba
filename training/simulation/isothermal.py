"""The pack model as single cells at a temperature that holds still: what SPMe is compared with, and fitted by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.sensor.simulated.cell import Cell, Floats
from services.sensor.simulated.pack import Build, Packs
from training.simulation.profiles import STEP_S, Profile

Doubles = NDArray[np.float64]


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
