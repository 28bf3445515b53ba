"""The cell detector over folds by protocol: each protocol's windows by a model that has not seen the protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import open_session
from training.checkpoint import replace_whole
from training.compress.cell_graph import build, calibrate
from training.data.cell_steps import CELLS, Phases, phases_of
from training.data.isc_ncm import SAME_CELL, load, phases_there
from training.data.splits import Fold
from training.evaluation.isc_ncm import Scored
from training.models.cell import CHEMISTRIES, COLUMNS
from training.models.cell_fit import CellWindows, Recipe, Voltage, fit
from training.models.leak import Deviations, Head, fit_head, join

STEP_S: Final = 10.0
HOLE_MAX: Final = 12
CALIBRATION: Final = 200  # windows
CAPACITIES: Final = {CHEMISTRIES.index(cell.chemistry): cell.capacity_ah for cell in CELLS.values()}


@dataclass(frozen=True, slots=True)
class Part:
    """A model, and the windows of protocols that it has not seen."""

    model: Voltage
    fold: Fold
    windows: CellWindows
    deviations: Deviations
    losses: list[float]


class Work:
    """The data, a folder for what is not to be done twice, and who is told of progress.

    Args:
        folder: steps and nets are kept there; a net that was finished, or half finished, is taken up if `resume`.
    Raises:
        DataError: of the loader.
    """

    def __init__(self, data: Path, folder: Path, resume: bool, console: Console) -> None:
        self.folder, self.resume, self.console = folder, resume, console
        kept = folder / "steps.npz"
        if not (resume and kept.exists()):
            self._read(data, kept)
        with np.load(kept) as arrays:
            self.phases = Phases(**{name: arrays[name] for name in arrays.files})

    def _read(self, data: Path, kept: Path) -> None:
        with Progress(console=self.console, transient=True) as progress:
            runs = progress.track(load(data), total=phases_there(data), description="reading isc_ncm")
            phases = phases_of(runs, COLUMNS, STEP_S, HOLE_MAX)
        self.folder.mkdir(parents=True, exist_ok=True)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **{name: getattr(phases, name) for name in Phases.__slots__})

        replace_whole(kept, write)

    @property
    def protocols(self) -> list[str]:
        return sorted(set(self.phases.group.tolist()))

    @property
    def strata(self) -> dict[str, str]:
        """Protocol -> chemistry and kind of discharge: each is spread over the folds."""
        return {name: f"{name.split('_')[0]} {'DST' in name}" for name in self.protocols}

    def healthy(self) -> NDArray[np.bool_]:
        """Phases without a resistor, or with one that takes under 6 mA."""
        return np.asarray(self.phases.ohm >= SAME_CELL)

    def of(self, protocols: Sequence[str], healthy: bool = False) -> NDArray[np.intp]:
        """Phases of these protocols."""
        inside = np.isin(self.phases.group, list(protocols))
        return np.nonzero(inside & self.healthy() if healthy else inside)[0]

    def fit(self, protocols: Sequence[str], recipe: Recipe, name: str) -> tuple[Voltage, list[float]]:
        """A model of the healthy phases of these protocols."""
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(name, total=None)

            def told(step: int, steps: int, loss: float) -> None:
                if step % 20 == 0 or step == steps:
                    progress.update(task, total=steps, completed=step, description=f"{name} loss {loss:.3f}")

            which = self.of(protocols, healthy=True)
            return fit(self.phases, which, recipe, self.folder / f"{name}.pt", self.resume, told)

    def part(self, fold: Fold, recipe: Recipe, name: str) -> Part:
        """Train on one side of a fold, look at the other."""
        model, losses = self.fit(fold.train, recipe, name)
        windows = CellWindows(self.phases, self.of(fold.test), CAPACITIES, recipe.window)
        return Part(model, fold, windows, model.deviations(windows), losses)

    def scored(self, part: Part, score: NDArray[np.float64]) -> Scored:
        """Scores of a part's windows, with what they are of."""
        of, phases = part.windows.of, self.phases
        return Scored(score, phases.unit[of], phases.group[of], phases.cell[of], phases.ohm[of])

    def head(self, parts: Sequence[Part], seed: int) -> Head:
        """A head learned on the healthy windows of parts."""
        healthy = self.healthy()
        return fit_head(join([part.deviations.select(healthy[part.windows.of]) for part in parts]), seed)

    def graphs(self, model: Voltage, head: Head, protocols: Sequence[str], window: int) -> tuple[bytes, bytes]:
        """Float and INT8 graph; the ranges are of healthy windows of these protocols."""
        windows = CellWindows(self.phases, self.of(protocols, healthy=True), CAPACITIES, window)
        some = windows.scaled[np.linspace(0, len(windows) - 1, min(CALIBRATION, len(windows))).astype(int)]
        ranges = calibrate(model, head, some)
        made: list[onnx.ModelProto] = [build(model, head, window, r)[0] for r in (None, ranges)]
        return made[0].SerializeToString(), made[1].SerializeToString()


def graph_scores(model: bytes, windows: CellWindows) -> NDArray[np.float64]:
    """A graph's scores, through ONNX Runtime as on the edge."""
    session = open_session(model, Path("graph"))
    mask = np.ones((1, *windows.scaled.shape[1:]), dtype=np.float32)
    return np.array(
        [session.run(["score"], {"window": w[None], "mask": mask})[0][0] for w in windows.scaled], dtype=np.float64
    )


def concatenate(parts: Sequence[Scored]) -> Scored:
    names = ("score", "unit", "protocol", "cell", "ohm")
    return Scored(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
