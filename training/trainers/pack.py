"""The pack detector: from healthy vehicles, real and simulated, to the bundles `dyad-int8` and `dyad-fp32`.

Both are the same net of the same seed; the one is written as static INT8, the other in float.
"""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from services.bus.profiles import load_profile
from services.inference.bundle import Manifest
from training.compress.bundle import operators, write_bundle
from training.compress.integer import integer_form
from training.compress.prune import parameters
from training.compress.student_graph import write
from training.data.cut import WindowShape
from training.data.runs import FAULTY, HEALTHY, UNKNOWN
from training.data.windows import Windows, join
from training.evaluation.scores import graph_run, scores
from training.evaluation.vehicles import balanced_quantile
from training.models.conv import ConvDyad, Size
from training.models.fit import Fitted, Recipe, Saves, fit
from training.models.pack import CHANNELS
from training.models.snippets import Snippets
from training.models.snippets import join as join_snippets
from training.packs import PERIOD_MAX_S, SPANS, TRAIN_STRIDE, healthy, simulated, snippets, vehicles
from training.simulation.fleet import Fleet
from training.sources import digest

SAVED, SAVED_AWARE = "training.pt", "training-aware.pt"
VERSION: Final = "1.0.0"
Scores = NDArray[np.float64]


class FleetConfig(BaseModel):
    """Healthy vehicles of the simulated fleet that are learnt from; `held_out` more, for the units of error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 101
    vehicles: int = Field(120, ge=1)
    held_out: int = Field(30, ge=1)
    sessions: int = Field(28, ge=1)
    stride: int = Field(64, ge=1, description="Steps from one window of a session to the next.")
    share: float = Field(0.5, gt=0, lt=1, description="Of the windows of a batch that are of the fleet.")


class Config(BaseModel):
    """What configs/dyad-int8.yaml and dyad-fp32.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    form: Literal["int8", "fp32"] = "int8"
    size: Size = Size()
    recipe: Recipe = Recipe()
    kl_weight: float = Field(1e-2, ge=0)
    aware: Recipe = Field(Recipe(steps=1500, learning_rate=1e-3), description="`int8`: trained on with its roundings.")
    fleet: FleetConfig | None = FleetConfig()
    quantile: float = Field(0.998, gt=0, lt=1, description="Of healthy windows that were not learnt from: threshold.")
    calibration: int = Field(400, ge=1, description="Windows from which the ranges of INT8 are taken.")
    calibration_share: float = Field(0.98, gt=0, le=1, description="Of them, whose extremes the ranges hold.")


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Recordings to bundle.

    Args:
        data: folder of the ev-fault vehicles.
    Raises:
        DataError, SourceError: a recording is missing or cannot be read, or none is healthy.
        CheckpointError: what is resumed is of another training.
    """
    torch.set_num_threads(1)  # so small a net gains little by two, and loses much on a shared machine
    shape = WindowShape(window=config.size.steps)
    with Progress(console=console) as progress:
        task = progress.add_task("reading the vehicles", total=1 + (config.fleet is not None))
        real = vehicles(data, CHANNELS, shape)
        progress.advance(task)
        fleet = None if config.fleet is None else fleet_windows(config.fleet)
        progress.advance(task)
        net, fitted, learnt = learn(config, real, fleet, progress, out / SAVED, resume)
        model = plain = write(net, None).model().SerializeToString()
        if config.form == "int8":
            windows, share = calibration_windows(config, learnt), config.calibration_share
            saves = Saves(out / SAVED_AWARE, about(config, learnt), resume)
            held, title = unit_windows(real, fleet), f"{config.name}, with roundings"
            made = integer_form(net, config.aware, learnt, held, windows, share, progress, title, saves)
            model = made.SerializeToString()
    threshold, figures = figures_of(model, plain, real, fleet, config.quantile)
    figures["parameters"] = parameters(net)
    figures["operators"] = operators(model)
    figures["training_loss"] = [round(float(np.mean(part)), 4) for part in (fitted.losses[:50], fitted.losses[-50:])]
    sets = [healthy(real["train"]), *([fleet["train"]] if fleet else [])]
    manifest = write_bundle(out, model, describe(config, sets, threshold, figures))
    for name in (SAVED, SAVED_AWARE):
        (out / name).unlink(missing_ok=True)
    return manifest


def learn(
    config: Config,
    real: dict[str, Windows],
    fleet: dict[str, Windows] | None,
    progress: Progress,
    saved: Path | None = None,
    resume: bool = False,
) -> tuple[ConvDyad, Fitted, Snippets]:
    """The net with its units of error, and what it learnt from."""
    share = 0.0 if config.fleet is None else config.fleet.share
    sets = [snippets(healthy(real["train"]), CHANNELS, 1 - share)]
    if fleet is not None:
        sets.append(snippets(fleet["train"], CHANNELS, share))
    learnt = join_snippets(sets)
    torch.manual_seed(config.recipe.seed)
    net = ConvDyad(config.size, config.kl_weight, max(1, config.recipe.steps // 3))
    saves = None if saved is None else Saves(saved, about(config, learnt), resume)
    fitted = fit(net, learnt, config.recipe, progress, config.name, None, saves)
    net.fit_units(unit_windows(real, fleet), CHANNELS)
    return net, fitted, learnt


def about(config: Config, learnt: Snippets) -> dict[str, Any]:
    """What makes it this training."""
    return {"config": config.model_dump(mode="json"), "data": digest(learnt.window.numpy(), learnt.mask.numpy())}


def unit_windows(real: dict[str, Windows], fleet: dict[str, Windows] | None) -> Snippets:
    """Healthy windows that were not learnt from, by which the errors get their units."""
    sets = [real["threshold"], *([fleet["threshold"]] if fleet else [])]
    return join_snippets([snippets(healthy(windows), CHANNELS) for windows in sets])


def fleet_windows(config: FleetConfig) -> dict[str, Windows]:
    """Healthy simulated vehicles: `train`, and `threshold` of others."""
    made = simulated(
        Fleet(seed=config.seed, healthy=config.vehicles + config.held_out, faulty=0, sessions=config.sessions, late=0),
        stride=config.stride,
    )
    names = sorted(set(made.group.tolist()))
    return {"train": made.of_groups(names[: config.vehicles]), "threshold": made.of_groups(names[config.vehicles :])}


def calibration_windows(config: Config, learnt: Snippets) -> Snippets:
    generator = torch.Generator().manual_seed(config.recipe.seed)
    return learnt.at(torch.multinomial(learnt.weight, min(config.calibration, len(learnt)), generator=generator))


def figures_of(
    model: bytes, plain: bytes, real: dict[str, Windows], fleet: dict[str, Windows] | None, quantile: float
) -> tuple[float, dict[str, Any]]:
    """Threshold from the healthy `threshold` windows, then what it does on spans that no choice was made on."""
    chosen = join([healthy(real["threshold"]), *([fleet["threshold"]] if fleet else [])])
    judged = scores(graph_run(model, CHANNELS), chosen)[0]
    threshold = round(balanced_quantile(judged, chosen.group, quantile), 3)
    figures: dict[str, Any] = {}
    for name in ("test", "late"):
        if name in real:
            found = scores(graph_run(model, CHANNELS), real[name])[0]
            figures |= summaries(name, real[name], found, threshold)
    if model != plain:
        figures["int8_against_float"] = parity(judged, scores(graph_run(plain, CHANNELS), chosen)[0])
    return threshold, figures


def summaries(span: str, windows: Windows, found: Scores, threshold: float) -> dict[str, Any]:
    """One entry a vehicle and kind of window."""
    kinds = {HEALTHY: "healthy", FAULTY: "faulty", UNKNOWN: "unlabelled"}
    made: dict[str, Any] = {}
    for vehicle in sorted(set(windows.group.tolist())):
        for label, kind in kinds.items():
            part = found[(windows.group == vehicle) & (windows.label == label)]
            if len(part):
                made[f"{vehicle}_{span}_{kind}"] = {
                    "windows": len(part),
                    "median": round(float(np.median(part)), 2),
                    "p95": round(float(np.quantile(part, 0.95)), 2),
                    "over_threshold": round(float((part > threshold).mean()), 4),
                }
    return made


def parity(integer: Scores, plain: Scores) -> dict[str, float]:
    """How far INT8 scores are from float ones, over healthy windows."""
    one, other = (np.argsort(np.argsort(part)) - (len(part) - 1) / 2 for part in (integer, plain))
    return {
        "rank_correlation": round(float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())), 4),
        "median_relative_difference": round(float(np.median(np.abs(integer / plain - 1))), 4),
    }


def describe(config: Config, learnt: Sequence[Windows], threshold: float, figures: dict[str, Any]) -> dict[str, Any]:
    shape = WindowShape(window=config.size.steps)
    form = "static INT8" if config.form == "int8" else "float"
    fleet = None if config.fleet is None else config.fleet.model_dump()
    return {
        "name": config.name,
        "purpose": "detector" if config.form == "int8" else "reference",
        "version": VERSION,
        "title": f"DyAD in convolutions, {form}",
        "profile": "battery",
        "profile_version": load_profile("battery").version,
        "channels": [spec.model_dump(exclude_none=True) for spec in CHANNELS],
        **asdict(shape),
        "period_max_s": PERIOD_MAX_S,
        "score": {
            "definition": "Mean over the responses of: the signed mean over the window of its error, and a quarter of "
            "that error's size (Huber, bend at 3), each in units that a healthy window has at such levels of current, "
            "voltage and temperature, so that one in ten is above 1.",
            "threshold": threshold,
            "threshold_from": f"Quantile {config.quantile} of healthy windows of the vehicles' threshold spans "
            f"({SPANS['threshold'][0]:.0%} to {SPANS['threshold'][1]:.0%} of each healthy recording) and of simulated "
            "vehicles that were not learnt from, vehicles equal.",
        },
        "training": {
            "data": "ev-fault: BatICM/unsupervised-battery-faults (MIT)" + ("; simulated fleet" if fleet else ""),
            "windows": {name: count for part in learnt for name, count in counted(part).items()},
            "spans": {part: list(ends) for part, ends in SPANS.items()},
            "stride": TRAIN_STRIDE,
            "fleet": fleet,
            "recipe": config.recipe.model_dump(),
            "aware": config.aware.model_dump() if config.form == "int8" else None,
            "kl_weight": config.kl_weight,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "figures": figures,
    }


def counted(windows: Windows) -> dict[str, int]:
    """Windows a vehicle; the simulated ones together."""
    if set(windows.source.tolist()) == {"simulated"}:
        return {"simulated": len(windows)}
    names, count = np.unique(windows.group, return_counts=True)
    return dict(zip(names.tolist(), count.tolist(), strict=True))
