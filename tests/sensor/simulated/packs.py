"""Packs for the tests of the model, and what flows through them."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.sensor.simulated.cell import reference_cell
from services.sensor.simulated.pack import Build, Packs


def build(
    cells: int = 2,
    packs: int = 1,
    soc: float | Sequence[float] = 0.5,
    capacity: float | Sequence[float] = 5.0,
    cooling: float = 0.04,
    conduction: float = 0.035,
    refresh: int = 1,
    mass_kg: float = 0.068,
) -> Packs:
    """New cells of 5 Ah and 68 g at 25 degC; `soc` by pack, `capacity` by cell."""
    shape = (packs, cells)
    start = np.broadcast_to(np.atleast_1d(np.asarray(soc, np.float64))[:, None], shape).copy()
    made = Build(
        capacity_ah=np.broadcast_to(np.asarray(capacity, np.float32), shape).copy(),
        resistance=np.ones(shape, np.float32),
        soc=start,
        temperature=np.full(shape, 25.0, np.float32),
        mass_kg=mass_kg,
        cooling_w_k=np.full(shape, cooling, np.float32),
        conduction_w_k=conduction,
        coolant=np.full(packs, 25.0, np.float32),
    )
    return Packs(reference_cell(), made, refresh)


def currents(steps: int, seed: int = 0) -> Iterator[tuple[float, float]]:
    """(A, s): like a drive that ends about where it began; steps of one length, so that tables are looked up seldom."""
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        yield float(draw.uniform(-6.0, 6.0)), 10.0


def rest(packs: Packs, seconds: float, dt: float = 10.0) -> None:
    for _ in range(round(seconds / dt)):
        packs.step(np.zeros(len(packs.coolant), np.float32), dt)
