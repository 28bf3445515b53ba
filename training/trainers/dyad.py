"""DyAD as published, on snippets of charging: its four sizes (configs/dyad-brand1, -brand2, -brand3, -all).

Learns from healthy vehicles alone. One in five of them is held out: there training stops early, and the threshold is
taken. The bundle is float: ONNX Runtime quantizes no GRU. Judge it with `./emberwatch evaluate`.
"""

import math
import platform
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from services.bus.profiles import load_profile
from services.inference.bundle import Manifest
from services.inference.channels import ChannelSpec
from training.compress.bundle import operators, write_bundle
from training.compress.dyad_graph import write
from training.data.errors import DataError
from training.data.runs import HEALTHY
from training.data.splits import folds
from training.data.windows import Windows
from training.evaluation.vehicles import balanced_quantile
from training.models.dyad import Dyad, Loss, Shape
from training.models.fit import Fitted, Recipe, Saves, fit, judge
from training.models.snippets import Snippets, scaled
from training.sources import Labelled, read_snippets

VERSION: Final = "1.0.0"
SPREAD_MIN: Final = 1e-4
RANGE_PART: Final = 0.1  # the published normalizer: at least this part of a column's whole range is one unit


class Config(BaseModel):
    """What the configuration may say; names in the descriptions are the published code's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Of the bundle.")
    dataset: str = Field("evbattery", description="evbattery or simulated.")
    shape: Shape
    loss: Loss = Loss()
    epochs: int = Field(3, ge=1)
    batch: int = Field(128, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    floor: float = Field(0.1, gt=0, le=1, description="`cosine_factor`: the last learning rate, part of the first.")
    steps_max: int | None = Field(None, ge=1, description="Fewer steps than the epochs have; for trials.")
    patience: int = Field(5, ge=0, description="Checks (20 an epoch) without a better one until it stops; 0 = never.")
    huber: bool = Field(True, description="Score by the Huber error; published is the squared one.")
    window: int = Field(128, ge=2)
    step_s: float = Field(10.0, gt=0, description="What a row of a snippet is taken for [s].")
    folds: int = Field(5, ge=2, description="One of so many parts of the healthy vehicles is held out.")
    quantile: float = Field(0.99, gt=0, lt=1, description="Of the held-out vehicles' windows: the threshold.")
    seed: int = 7


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Snippets to bundle.

    Raises:
        DataError: the data break a rule, or hold too few healthy vehicles; names file and rule.
        CheckpointError: what is resumed is of another training.
    """
    torch.set_num_threads(1)
    with Progress(console=console) as progress:
        read = read_snippets(config.dataset, data, config.shape.columns, config.window, config.step_s, progress)
        healthy = read.select(read.windows.label == HEALTHY)
        if len(set(healthy.windows.group.tolist())) < config.folds:
            found = len(set(healthy.windows.group.tolist()))
            raise DataError(data, "vehicles", f"{found} healthy ones; {config.folds} are needed to hold one part out")
        fold = folds(healthy.windows.group, config.folds, config.seed)[0]
        learnt, held = healthy.of_groups(fold.train), healthy.of_groups(fold.test)
        specs = scaler(learnt.windows, config.shape)
        saves = Saves(out / "training.pt", {"config": config.model_dump(mode="json"), "data": read.digest}, resume)
        net, fitted = learn(config, snippets(learnt, specs), snippets(held, specs), progress, saves)
        scores = judge(net, snippets(held, specs))[0].numpy().astype(np.float64)
        threshold = balanced_quantile(scores, held.windows.group, config.quantile)
        model = write(net, config.window).model().SerializeToString()
        figures = {
            "held_out": {
                "vehicles": len(fold.test),
                "windows": len(scores),
                "median": round(float(np.median(scores)), 4),
                "p95": round(float(np.quantile(scores, 0.95)), 4),
            },
            "parameters": sum(p.numel() for p in net.parameters()),
            "operators": operators(model),
            "best_step": fitted.best_step,
            "steps": len(fitted.losses),
        }
        manifest = write_bundle(out, model, _manifest(config, specs, threshold, learnt, figures))
        saves.path.unlink(missing_ok=True)
        return manifest


def learn(
    config: Config, learnt: Snippets, held: Snippets, progress: Progress, saves: Saves | None = None
) -> tuple[Dyad, Fitted]:
    """The training itself: AdamW, cosine, batches drawn at random."""
    torch.manual_seed(config.seed)
    net = Dyad(config.shape, config.loss, config.huber)
    an_epoch = math.ceil(len(learnt) / config.batch)
    steps = min(config.epochs * an_epoch, config.steps_max or config.epochs * an_epoch)
    recipe = Recipe(
        steps=steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        schedule="cosine",
        floor=config.floor,
        weight_decay=1e-6,
        patience=config.patience,
        check_every=max(1, an_epoch // 20),
        seed=config.seed,
    )
    return net, fit(net, learnt, recipe, progress, config.name, held, saves)


def scaler(windows: Windows, shape: Shape) -> tuple[ChannelSpec, ...]:
    """The published normalizer: less the mean, in units of the mean spread within a snippet, or of a tenth of the
    column's range where that is more."""
    values = windows.values.astype(np.float64)
    mean = np.nanmean(values, axis=(0, 1))
    spread = np.nanmean(np.nanstd(values, axis=1), axis=0)
    whole = np.nanmax(values, axis=(0, 1)) - np.nanmin(values, axis=(0, 1))
    scale = np.maximum(np.maximum(SPREAD_MIN, spread), RANGE_PART * whole)
    return tuple(
        ChannelSpec(
            name=name,
            role="input" if name in shape.inputs else "response",
            derived="charge" if name == "charge" else None,
            offset=round(float(mean[i]), 6),
            scale=round(float(scale[i]), 6),
        )
        for i, name in enumerate(shape.columns)
    )


def snippets(read: Labelled, specs: tuple[ChannelSpec, ...]) -> Snippets:
    """Scaled; every snippet is drawn as often as any other."""
    window, mask = scaled(
        read.windows.filled(), read.windows.mask, [spec.offset for spec in specs], [spec.scale for spec in specs]
    )
    mileage: NDArray[np.float32] = read.mileage.astype(np.float32)
    return Snippets(window, mask, torch.ones(len(window)), torch.from_numpy(mileage))


def _manifest(
    config: Config, specs: tuple[ChannelSpec, ...], threshold: float, learnt: Labelled, figures: dict[str, Any]
) -> dict[str, Any]:
    error = "Huber error (bend at 1)" if config.huber else "squared error"
    return {
        "name": config.name,
        "version": VERSION,
        "title": f"DyAD as published, {config.shape.layers} x {config.shape.hidden} {config.shape.rnn.upper()}, float",
        "profile": "battery",
        "profile_version": load_profile("battery").version,
        "channels": [spec.model_dump(exclude_none=True) for spec in specs],
        "step_s": config.step_s,
        "period_max_s": 3 * config.step_s,
        "window": config.window,
        "stride": max(1, config.window // 8),
        "hole_max": 12,
        "holes_max": config.window // 4,
        "score": {
            "definition": f"Mean over responses and measured steps of the {error} between response and reconstruction, "
            "scaled.",
            "threshold": round(max(threshold, 1e-9), 6),
            "threshold_from": f"Quantile {config.quantile} of the windows of healthy vehicles that were not learnt "
            "from, vehicles equal.",
        },
        "training": {
            "data": config.dataset,
            "vehicles": len(set(learnt.windows.group.tolist())),
            "windows": len(learnt.windows),
            "mileage": bool(np.isfinite(learnt.mileage).any()),
            "config": config.model_dump(mode="json"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "figures": figures,
    }
