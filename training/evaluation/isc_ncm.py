"""A cell bundle on isc_ncm: cells with and without a resistor across them, by size of the resistor.

What is judged, each by the product's own path (the shipped graph, services/inference's reduction and features):

- window: 128 steps of 10 s that follow one another from the beginning of each charge and discharge,
- run: the sum over the windows of a run (its charge and its discharge) by the root of their number. The bundle's score
  is 0 at the middle healthy window, so that evidence adds up; chosen on inner folds (docs/detection.md),
- cycle: leak current by charge balance over the run (training/evaluation/charge_balance.py); open cycles are left out.

Faulty are the runs of cell CS with `ohm` up to 200, healthy either all runs of cell BD ("bd") or the runs of CS itself
with 700 ohm and more ("same_cell"). The random family is left out. Intervals: 95 % bootstrap over protocols.

    {"window": {"10": {"bd": .., "same_cell": ..}, "20": .., .., "le100": ..}, "run": .., "cycle": ..,
     "n": {"window": {"bd": windows, "same_cell": .., "10": .., .., "not_judged": ..}, "run": .., "cycle": ..,
           "protocols": ..},
     "ci95": {"window": {"10": {"bd": [low, high], ..}, ..}, ..},
     "without_807": {"window": .., "run": .., "cycle": ..}}

`without_807`: the same without run 807, on which there was probably no resistor. A contrast for which one side is
missing is null; a size that does not occur is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import load_bundle
from services.inference.phase import Cell
from training.data.cell_steps import CELLS, Cut, windows_of
from training.data.errors import DataError
from training.data.isc_ncm import NOT_CONNECTED, SAME_CELL, load, phases_there
from training.data.runs import Run
from training.evaluation.auroc import DRAWS, auroc, interval
from training.evaluation.charge_balance import Calibration, Phase, read_cycle

Row = tuple[float, str, str, str, float]
SIZES: Final = (10, 20, 30, 50, 100, 200)
SMALL: Final = 100.0  # ohm; "le100" is all up to it
HEALTHY_CELL, FAULTY_CELL = "BD", "CS"


@dataclass(frozen=True, slots=True)
class Scored:
    """What was judged: windows, runs or cycles. ohm: of the resistor that is across the cell, infinite without one."""

    score: NDArray[np.float64]
    unit: NDArray[np.str_]
    protocol: NDArray[np.str_]
    cell: NDArray[np.str_]
    ohm: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Scored":
        table = list(rows)
        unit, protocol, cell = (np.array([row[i] for row in table], dtype=np.str_) for i in (1, 2, 3))
        score, ohm = (np.array([row[i] for row in table], dtype=np.float64) for i in (0, 4))
        return cls(score, unit, protocol, cell, ohm)

    def select(self, keep: NDArray[np.bool_]) -> "Scored":
        return Scored(self.score[keep], self.unit[keep], self.protocol[keep], self.cell[keep], self.ohm[keep])

    def runs(self) -> "Scored":
        """Sum over each run by the root of its number of windows."""
        _, first, of = np.unique(self.unit, return_index=True, return_inverse=True)
        total = np.bincount(of, self.score) / np.sqrt(np.bincount(of))
        return Scored(total, self.unit[first], self.protocol[first], self.cell[first], self.ohm[first])


def evaluate(bundle_dir: Path, path: Path, console: Console) -> dict[str, Any]:
    """Judge all runs under `path`.

    Raises:
        BundleError: the bundle cannot be used.
        DataError: the bundle does not judge cells, or nothing under `path` can be judged.
    """
    bundle = load_bundle(bundle_dir)
    manifest = bundle.manifest
    if not manifest.of_cell:
        raise DataError(bundle_dir, "cell", f"{manifest.id} does not judge single cells")
    cut = Cut(manifest.step_s, manifest.window, manifest.window, manifest.hole_max, manifest.holes_max)
    calibration = Calibration.load()
    windows: list[Row] = []
    cycles: list[Row] = []
    halves: dict[str, Run] = {}
    not_judged = 0
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("judging", total=phases_there(path))
        for run in load(path, partial=True):
            cycles += cycle_of(halves, run, calibration)
            for window in windows_of(run, manifest.channels, cut, cell_of(run), manifest.domain):
                if window is None:
                    not_judged += 1
                else:
                    windows.append((bundle.judge(window).score, *identity(run)))
            progress.advance(task)
    if not windows and not cycles:
        raise DataError(path, "runs", "there is none of the families cccv and dst")
    found = Scored.of(windows)
    figures = summary({"window": found, "run": found.runs(), "cycle": Scored.of(cycles)})
    figures["n"]["window"]["not_judged"] = not_judged
    return figures


def identity(run: Run) -> tuple[str, str, str, float]:
    """Unit, protocol, cell, ohm across it."""
    return run.unit, run.group, str(run.facts["cell"]), run.size if run.label == 1 else float("inf")


def cycle_of(halves: dict[str, Run], run: Run, calibration: Calibration) -> list[Row]:
    """Leak current [A] of the run whose second half this is, if it closes; `halves` keeps the first ones."""
    other = halves.pop(run.unit, None)
    if other is None or other.phase == run.phase:
        halves[run.unit] = run
        return []
    phases = {
        half.phase: Phase(
            half.time_s, half.channels["current"].astype(np.float64), half.channels["voltage"].astype(np.float64)
        )
        for half in (other, run)
    }
    cycle = read_cycle(phases["charge"], phases["discharge"])
    leak = calibration.leak(cycle, str(run.facts["chemistry"]), str(run.facts["family"]), run.group)
    return [(leak, *identity(run))] if np.isfinite(leak) else []


def cell_of(run: Run) -> Cell:
    """Raises DataError for a chemistry of which the nominal capacity is not known."""
    chemistry = str(run.facts["chemistry"])
    if chemistry not in CELLS:
        raise DataError(f"run {run.unit}", "chemistry", f"{chemistry}; known are {', '.join(CELLS)}")
    return CELLS[chemistry]


def summary(judged: dict[str, Scored], draws: int = DRAWS) -> dict[str, Any]:
    """The figures, as the head of this file says."""
    figures: dict[str, Any] = {what: contrasts(scored) for what, scored in judged.items()}
    figures["n"] = {what: counts(scored) for what, scored in judged.items()}
    figures["n"]["protocols"] = len({name for scored in judged.values() for name in scored.protocol.tolist()})
    figures["ci95"] = {what: intervals(scored, draws) for what, scored in judged.items()}
    connected = {what: scored.select(scored.unit != NOT_CONNECTED) for what, scored in judged.items()}
    figures["without_807"] = {what: contrasts(scored) for what, scored in connected.items()}
    return figures


def contrasts(scored: Scored) -> dict[str, dict[str, float | None]]:
    """Size -> AUROC against either healthy side."""
    return {
        size: {name: _round(auroc(faulty.score, other.score)) for name, other in healthy_sides(scored).items()}
        for size, faulty in sizes(scored).items()
    }


def intervals(scored: Scored, draws: int) -> dict[str, dict[str, list[float] | None]]:
    found: dict[str, dict[str, list[float] | None]] = {}
    for size, faulty in sizes(scored).items():
        found[size] = {}
        for name, other in healthy_sides(scored).items():
            ends = interval(faulty.score, faulty.protocol, other.score, other.protocol, draws)
            found[size][name] = None if ends is None else [round(end, 4) for end in ends]
    return found


def counts(scored: Scored) -> dict[str, int]:
    sides = {name: len(side.score) for name, side in healthy_sides(scored).items()}
    return sides | {size: len(faulty.score) for size, faulty in sizes(scored).items()}


def sizes(scored: Scored) -> dict[str, Scored]:
    """The faulty side by size of the resistor; `le100` together."""
    faulty = scored.cell == FAULTY_CELL
    parts = {str(size): scored.select(faulty & (scored.ohm == size)) for size in SIZES}
    parts["le100"] = scored.select(faulty & (scored.ohm <= SMALL))
    return {size: part for size, part in parts.items() if len(part.score)}


def healthy_sides(scored: Scored) -> dict[str, Scored]:
    return {
        "bd": scored.select(scored.cell == HEALTHY_CELL),
        "same_cell": scored.select((scored.cell == FAULTY_CELL) & (scored.ohm >= SAME_CELL)),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
