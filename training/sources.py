"""Data sets by name, as labelled windows of a bundle's columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from training.data import evbattery
from training.data.cut import rows_as_steps
from training.data.errors import DataError
from training.data.runs import Run
from training.data.windows import Windows, join

TOGETHER = 2048  # snippets made to windows at once


@dataclass(frozen=True, slots=True)
class Labelled:
    """Windows with what only DyAD's head asks for.

    Args:
        mileage: (n,) km; NaN = not known.
        digest: of all that was read, so that a checkpoint knows its data again.
    """

    windows: Windows
    mileage: NDArray[np.float64]
    digest: str

    def select(self, keep: NDArray[np.bool_]) -> "Labelled":
        return Labelled(self.windows.select(keep), self.mileage[keep], self.digest)

    def of_groups(self, groups: Sequence[str]) -> "Labelled":
        return self.select(np.isin(self.windows.group, list(groups)))


def labelled(windows: Windows, mileage: NDArray[np.float64] | None = None) -> Labelled:
    known = np.full(len(windows), np.nan) if mileage is None else mileage
    units = np.frombuffer("\n".join(windows.unit.tolist()).encode(), dtype=np.uint8)
    return Labelled(windows, known, digest(windows.values, windows.label, known, units))


def digest(*arrays: NDArray[Any]) -> str:
    """What a checkpoint knows its data again by."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def read_snippets(
    dataset: str, path: Path, columns: Sequence[str], steps: int, step_s: float, progress: Progress
) -> Labelled:
    """Snippets of charging, one window each; of longer ones the last `steps` rows.

    Raises:
        DataError: unknown data set; a snippet that breaks a rule, naming file and rule.
    """
    if dataset != "evbattery":
        raise DataError(dataset, "dataset", "there are evbattery")
    sets: list[Windows] = []
    mileage: list[float] = []
    waiting: list[Run] = []

    def done() -> None:
        if waiting:
            sets.append(rows_as_steps(waiting, columns, step_s).require(columns, steps, step_s, path))
            waiting.clear()

    task = progress.add_task("reading snippets", total=None)
    for run in evbattery.load(path):
        waiting.append(run)
        mileage.append(float(run.facts.get("mileage", np.nan)))
        if len(waiting) == TOGETHER:
            done()
            progress.update(task, description=f"reading snippets: {len(mileage)}")
    done()
    progress.update(task, total=1, completed=1)
    return labelled(join(sets), np.array(mileage))
