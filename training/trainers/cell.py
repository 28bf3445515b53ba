"""`cell-int8`: the detector for a single cell, from isc_ncm. Recipe, figures and limits: docs/detection.md.

Five folds over protocols give what the head learns from, the threshold and the figures; the bundle's net is then
trained on all protocols.
"""

import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import Field
from rich.console import Console

from services.bus.profiles import load_profile
from services.inference.bundle import Manifest
from training.compress.bundle import operators, write_bundle
from training.data.isc_ncm import SAME_CELL
from training.data.splits import folds
from training.evaluation.isc_ncm import HEALTHY_CELL, Scored, contrasts, counts, intervals
from training.models.cell import COLUMNS, NAMES
from training.models.cell_alarms import STRIDE, alarms
from training.models.cell_fit import Recipe
from training.models.cell_folds import HOLE_MAX, STEP_S, Part, Work, concatenate, graph_scores

VERSION: Final = "1.0.0"
QUANTILE: Final = 0.998
HOLES_MAX: Final = 32
PERIOD_MAX_S: Final = 10.0
MARGIN: Final = 0.1  # of a column's range in training, on either side, is still judged
ANY_V: Final = 5.5
DRAWS: Final = 1000


class Config(Recipe):
    """What configs/cell-int8.yaml may say."""

    folds: int = Field(5, ge=2, description="Over protocols; the figures' and the head's.")
    fold_seed: int = 0
    work: Path | None = Field(
        None, description="Folder of checkpoints (default: beside the bundle, removed at the end)."
    )

    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Train, quantize, judge over folds, write the bundle.

    Args:
        data: folder of isc_ncm.
    Raises:
        DataError: the data cannot be read, or there are fewer protocols than folds.
        CheckpointError: `resume`, and the checkpoints are of another training.
    """
    torch.set_num_threads(1)  # so small a net gains little by two, and loses much on a shared machine
    work = Work(data, config.work or out.parent / f".{out.name}.training", resume, console)
    recipe = config.recipe()
    made = folds(work.protocols, config.folds, config.fold_seed, work.strata)
    parts = [work.part(fold, recipe, f"fold{k}") for k, fold in enumerate(made)]
    plain, integer, graphs = cross_scores(work, parts, config)
    middle = float(np.median(integer.score[integer.ohm >= SAME_CELL]))
    plain, integer = replace(plain, score=plain.score - middle), replace(integer, score=integer.score - middle)
    model, losses = work.fit(work.protocols, recipe, "all")
    head = work.head(parts, config.seed).less(middle)
    graph = work.graphs(model, head, work.protocols, config.window)[1]
    healthy = integer.select(integer.ohm >= SAME_CELL)
    threshold = threshold_of(healthy)
    figures = {
        "window": contrasts(integer),
        "run": contrasts(integer.runs()),
        "ci95": {"window": intervals(integer, DRAWS), "run": intervals(integer.runs(), DRAWS)},
        "n": {"window": counts(integer), "run": counts(integer.runs())},
        "float": {"window": contrasts(plain), "run": contrasts(plain.runs())},
        "over_threshold": over(integer, threshold),
        "alarms": alarms(work, [(p, g, threshold + middle) for p, g in zip(parts, graphs, strict=True)], config.window),
        "training_loss": [round(float(np.mean(part)), 4) for part in (losses[:20], losses[-20:])],
        "bytes": len(graph),
        "operators": operators(graph),
    }
    manifest = write_bundle(out, graph, about(config, work, threshold, figures))
    if config.work is None:
        shutil.rmtree(work.folder)
    return manifest


def cross_scores(work: Work, parts: list[Part], config: Config) -> tuple[Scored, Scored, list[bytes]]:
    """Scores of all windows by the float and the INT8 graphs of the fold that has not seen their protocol, and the
    latter.

    A fold's head has learned from the healthy windows of the other folds.
    """
    plain: list[Scored] = []
    integer: list[Scored] = []
    kept: list[bytes] = []
    for k, part in enumerate(parts):
        head = work.head([other for j, other in enumerate(parts) if j != k], config.seed)
        graphs = work.graphs(part.model, head, part.fold.train, config.window)
        kept.append(graphs[1])
        for graph, found in zip(graphs, (plain, integer), strict=True):
            found.append(work.scored(part, graph_scores(graph, part.windows)))
    return concatenate(plain), concatenate(integer), kept


def threshold_of(healthy: Scored) -> float:
    """Quantile of healthy scores, protocols weighing alike."""
    _, of, count = np.unique(healthy.protocol, return_inverse=True, return_counts=True)
    order = np.argsort(healthy.score)
    reached = np.cumsum((1.0 / count)[of][order]) / len(count)
    return max(0.001, round(float(healthy.score[order][np.searchsorted(reached, QUANTILE)]), 3))


def over(scored: Scored, threshold: float) -> dict[str, float]:
    """Shares of windows over the threshold: healthy ones of either cell, and faulty ones by size."""
    cell = scored.cell == HEALTHY_CELL
    parts = {"bd": cell, "same_cell": ~cell & (scored.ohm >= SAME_CELL)}
    parts |= {f"{ohm:g} ohm": scored.ohm == ohm for ohm in (10.0, 20.0, 30.0, 50.0, 100.0)}
    return {
        name: round(float((scored.score[keep] > threshold).mean()), 4) for name, keep in parts.items() if keep.any()
    }


def about(config: Config, work: Work, threshold: float, figures: dict[str, Any]) -> dict[str, Any]:
    """The manifest's fields."""
    profile = load_profile("battery")
    return {
        "name": "cell-int8",
        "version": VERSION,
        "title": "Single cell: voltage against counted charge, leaks; static INT8",
        "profile": "battery",
        "profile_version": profile.version,
        "channels": channels(work),
        "step_s": STEP_S,
        "period_max_s": PERIOD_MAX_S,
        "window": config.window,
        "stride": STRIDE,
        "hole_max": HOLE_MAX,
        "holes_max": HOLES_MAX,
        "score": {
            "definition": "The greater of: log odds that the cell leaks (10 to 150 ohm on 3 Ah) against that it does "
            "not, as learned on leaks injected into healthy windows; and how much greater than any healthy one's the "
            "window's squared deviation is. 0 on the middle healthy window.",
            "threshold": threshold,
            "threshold_from": f"Quantile {QUANTILE} of the INT8 scores of healthy windows of protocols that the fold's "
            "net had not seen, protocols weighing alike.",
        },
        "training": {
            "data": "isc_ncm: swhlqu/voltage_prediction_and_ISC_detection (no licence stated)",
            "protocols": len(work.protocols),
            "healthy_phases": int(work.healthy().sum()),
            "folds": config.folds,
            **config.recipe().model_dump(mode="json"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "figures": figures,
    }


def channels(work: Work) -> list[dict[str, Any]]:
    """Columns, with the range that is judged where one tells that a cell is used as no training phase was.

    A leak only ever lowers a first voltage and lengthens a charge, so no such limit may stand there: a charge that
    began half full (or a discharge that began half empty) and a current far beyond are what is not judged.
    """
    healthy = work.phases.values[work.phases.rows(np.nonzero(work.healthy())[0])]
    found: list[dict[str, Any]] = []
    for column, spec in enumerate(COLUMNS):
        fields = spec.model_dump(exclude_none=True)
        for name, direction in (("charge_range", 1.0), ("discharge_range", -1.0)):
            seen = healthy[healthy[:, NAMES.index("phase")] == direction, column]
            low, high = float(seen.min()), float(seen.max())
            margin = MARGIN * (high - low)
            if spec.name == "phase_first_voltage":
                limits = (0.0, high + margin) if direction > 0 else (low - margin, ANY_V)
                fields[name] = (round(limits[0], 3), round(limits[1], 3))
            elif spec.name == "c_rate_1000":
                fields[name] = (round(low - margin, 3), round(high + margin, 3))
        found.append(fields)
    return found
