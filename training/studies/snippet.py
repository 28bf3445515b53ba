"""DyAD as published on snippets of a single cell: 128 steps without any state from before them.

Same windows, folds and contrasts as `study cell`. Inputs are the C-rate and the charge counted since the snippet began,
the response is the voltage; a snippet that begins lower because the cell has leaked before looks like any other.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from training.data.splits import folds
from training.evaluation.isc_ncm import Scored, contrasts
from training.models.cell import CHARGE, NAMES, UNIT, VOLTAGE
from training.models.cell_fit import CellWindows
from training.models.cell_folds import CAPACITIES, Work, concatenate
from training.models.dyad import Dyad, Loss, Shape
from training.models.fit import Recipe, fit, judge
from training.models.snippets import Snippets
from training.studies.cell import aggregate

C_RATE = NAMES.index("c_rate")
SPAN_V = 0.3  # about what the voltage goes through in a snippet


class Config(BaseModel):
    """What configs/studies/snippet.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape = Shape(inputs=("charge", "c_rate"), responses=("voltage",), hidden=64, latent=32)
    recipe: Recipe = Recipe(steps=400, batch=64, learning_rate=5e-3, schedule="cosine", weight_decay=1e-6)
    window: int = 128
    folds: int = Field(5, ge=2)
    fold_seed: int = 0


def study(config: Config, data: Path, console: Console) -> dict[str, Any]:
    """AUROC by size of windows and runs, squared and Huber error."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        work = Work(data / "isc_ncm", Path(folder), False, console)
        rows: dict[str, list[Scored]] = {"squared": [], "huber": []}
        for k, fold in enumerate(folds(work.protocols, config.folds, config.fold_seed, work.strata)):
            learnt = snippets(CellWindows(work.phases, work.of(fold.train, healthy=True), CAPACITIES, config.window))
            windows = CellWindows(work.phases, work.of(fold.test), CAPACITIES, config.window)
            torch.manual_seed(config.recipe.seed)
            net = Dyad(config.shape, Loss())
            fit(net, learnt, config.recipe, progress, f"snippets, fold {k + 1}")
            of, phases = windows.of, work.phases
            for name, scored in rows.items():
                net.huber = name == "huber"
                score = judge(net, snippets(windows))[0].numpy().astype(np.float64)
                scored.append(Scored(score, phases.unit[of], phases.group[of], phases.cell[of], phases.ohm[of]))
    whole = {name: concatenate(scored) for name, scored in rows.items()}
    return {
        name: {"window": contrasts(scored), "run": contrasts(aggregate(scored, "mean"))}
        for name, scored in whole.items()
    }


def snippets(windows: CellWindows) -> Snippets:
    """(n, steps, 3): charge since the snippet began, C-rate, voltage."""
    charge = windows.scaled[..., CHARGE] - windows.scaled[:, :1, CHARGE]
    voltage = windows.scaled[..., VOLTAGE] * np.float32(UNIT / SPAN_V)
    window = torch.from_numpy(np.stack([charge, windows.scaled[..., C_RATE], voltage], axis=2))
    count = len(window)
    return Snippets(window, torch.ones_like(window), torch.ones(count), torch.full((count,), float("nan")))
