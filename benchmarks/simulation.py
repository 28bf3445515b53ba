"""The pack model's speed: python -m benchmarks.simulation

1,000 snippets of 128 steps of 10 s, 96 cells each, one thread: the model alone, and with the sensors' errors and the
channels that a detector is given.
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.report import spread, write_section
from services.sensor.simulated.cell import reference_cell
from services.sensor.simulated.measuring import draw_sensors
from services.sensor.simulated.pack import KG_PER_AH, Build, Packs

SNIPPETS, STEPS, CELLS, PROBES, STEP_S = 1000, 128, 96, 24, 10.0
CAPACITY_AH = 60.0


def packs(count: int) -> Packs:
    def full(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.full((count, CELLS), value, np.float32)

    return Packs(
        reference_cell(),
        Build(
            capacity_ah=full(CAPACITY_AH),
            resistance=full(1.0),
            soc=np.full((count, CELLS), 0.6),
            temperature=full(25.0),
            mass_kg=KG_PER_AH * CAPACITY_AH,
            cooling_w_k=full(0.12),
            conduction_w_k=0.4,
            coolant=np.full(count, 20.0, np.float32),
        ),
    )


def model_alone(batch: int) -> None:
    rng = np.random.default_rng(0)
    for first in range(0, SNIPPETS, batch):
        count = min(batch, SNIPPETS - first)
        running = packs(count)
        for current in rng.normal(-15, 20, (STEPS, count)).astype(np.float32):
            running.step(current, STEP_S)


def as_measured(batch: int) -> None:
    rng = np.random.default_rng(0)
    for first in range(0, SNIPPETS, batch):
        count = min(batch, SNIPPETS - first)
        running, sensors = packs(count), draw_sensors(count, CELLS, PROBES, 400.0, rng)
        channels = np.empty((STEPS, count, 7), np.float32)
        for step, current in enumerate(rng.normal(-15, 20, (STEPS, count)).astype(np.float32)):
            running.step(current, STEP_S)
            cells, probes = sensors.cells(running.voltage, rng), sensors.probes(running.temperature)
            read = (cells.sum(axis=1), sensors.current(current, rng), cells.mean(axis=1), cells.max(axis=1))
            for i, values in enumerate((*read, cells.min(axis=1), probes.max(axis=1), probes.min(axis=1))):
                channels[step, :, i] = values


def cpu_s(work: Callable[[int], None], batch: int) -> float:
    begun = time.process_time()
    work(batch)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64, 100], help="packs at once")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.rounds):  # in turn
        for batch in given.batch:
            for name, work in (("model", model_alone), ("with sensors", as_measured)):
                taken.setdefault((name, batch), []).append(cpu_s(work, batch))
    lines = ["| | packs at once | minimum [s of CPU] | median | maximum |", "|---|---|---|---|---|"]
    for (name, batch), values in sorted(taken.items()):
        lines.append(f"| {name} | {batch} | {spread(values, 2)} |")
    write_section("simulation", lines)


if __name__ == "__main__":
    main()
