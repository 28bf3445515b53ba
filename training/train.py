"""Train, quantize, judge and write the bundle `dyad-int8`."""

import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from services.bus.profiles import load_profile
from services.inference.bundle import MODEL, Manifest, open_session
from training.dyad import CHANNELS, ConvDyad, Dyad, GruDyad
from training.export import export_float, operators, quantize, write_bundle
from training.fit import Recipe, Tensors, fit, tensors
from training.vehicles import SPANS, VEHICLES, WindowSet, WindowShape, cut

VERSION: Final = "0.1.0"
QUANTILE: Final = 0.99
CALIBRATION: Final = 200  # windows
TRAIN_STRIDE: Final = 4  # steps; training windows overlap more than judged ones
TEACHER_STEPS: Final = 300
Scores = NDArray[np.float64]


def train(data: Path, target: Path, recipe: Recipe, console: Console, *, teacher: bool = False) -> Manifest:
    """The whole way from recordings to a bundle.

    Args:
        data: folder with car1.parquet, car2.parquet, car3.parquet.
        target: the bundle's folder.
        teacher: train the GRU form first and let the student learn from both.
    Raises:
        FileNotFoundError: a recording is missing.
        ValueError: the recordings hold no window.
    """
    torch.set_num_threads(1)  # so small a net gains little by two, and loses much on a shared machine
    torch.manual_seed(recipe.seed)
    shape, sets = WindowShape(), []
    learnt: list[WindowSet] = []
    with Progress(console=console) as progress:
        task = progress.add_task("reading the vehicles", total=len(VEHICLES))
        for name in VEHICLES:
            dense = WindowShape(stride=TRAIN_STRIDE)
            learnt += [part.healthy() for part in cut(data, name, CHANNELS, dense, ("train",))]
            sets += cut(data, name, CHANNELS, shape, ("threshold", "test", "late"))
            progress.advance(task)
        windows = tensors(learnt)
        held_out = tensors([part.healthy() for part in sets if part.part == "threshold"])
        master: Dyad | None = None
        if teacher:
            master = GruDyad()
            fit(master, windows, Recipe(steps=min(recipe.steps, TEACHER_STEPS), seed=recipe.seed), progress, "teacher")
        student = ConvDyad(steps=shape.window)
        losses = fit(student, windows, recipe, progress, "student", master)
    with torch.no_grad():
        student.fit_sigma(held_out.window, held_out.mask)
    with tempfile.TemporaryDirectory() as folder:
        plain, integer = Path(folder) / "float.onnx", Path(folder) / MODEL
        export_float(student, plain, shape.window)
        drawn = torch.multinomial(
            windows.weight,
            min(CALIBRATION, len(windows.weight)),
            generator=torch.Generator().manual_seed(recipe.seed),
        )
        quantize(plain, integer, windows.window[drawn], windows.mask[drawn])
        threshold, figures = evaluate(plain, integer, sets)
        figures["training_loss"] = [round(float(np.mean(part)), 4) for part in (losses[:50], losses[-50:])]
        return write_bundle(target, integer, _manifest(shape, recipe, teacher, learnt, threshold, figures))


def evaluate(plain: Path, integer: Path, sets: Sequence[WindowSet]) -> tuple[float, dict[str, Any]]:
    """Threshold from the healthy `threshold` spans, then figures of merit on what no choice was made on."""
    scored = [(part, score(integer, tensors([part]))) for part in sets if len(part)]
    healthy = [scores[~part.warned] for part, scores in scored if part.part == "threshold"]
    threshold = balanced_quantile([scores for scores in healthy if len(scores)], QUANTILE)
    figures: dict[str, Any] = {}
    for part, scores in scored:
        if part.part == "test":
            figures[f"{part.vehicle}_healthy_test"] = _summary(scores[~part.warned], threshold)
            if part.warned.any():
                figures[f"{part.vehicle}_test_with_bms_warning"] = _summary(scores[part.warned], threshold)
        if part.part == "late":
            july = part.start >= np.datetime64("2019-07-01")
            figures[f"{part.vehicle}_june"] = _summary(scores[~july], threshold)
            figures[f"{part.vehicle}_drifted_from_july"] = _summary(scores[july], threshold)
    tests = [part for part, _ in scored if part.part == "test"]
    float_scores = np.concatenate([score(plain, tensors([part])) for part in tests])
    int_scores = np.concatenate([scores for part, scores in scored if part.part == "test"])
    figures["int8_against_float"] = {
        "rank_correlation": round(rank_correlation(float_scores, int_scores), 4),
        "median_relative_difference": round(float(np.median(np.abs(int_scores / float_scores - 1))), 4),
    }
    figures["operators"] = operators(integer.read_bytes())
    return threshold, figures


def score(model: Path, data: Tensors) -> Scores:
    """Scores of a graph over windows, through ONNX Runtime as on the edge."""
    session = open_session(model.read_bytes(), model)
    pairs = zip(data.window, data.mask, strict=True)
    return np.array(
        [session.run(["score"], {"window": w[None].numpy(), "mask": m[None].numpy()})[0][0] for w, m in pairs]
    )


def balanced_quantile(groups: Sequence[Scores], quantile: float) -> float:
    """Quantile of the scores of several vehicles, each vehicle weighing the same."""
    scores = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) / weights.sum()
    return round(float(scores[order][np.searchsorted(reached, quantile)]), 3)


def rank_correlation(a: Scores, b: Scores) -> float:
    """Spearman's, without ties."""
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def _summary(scores: Scores, threshold: float) -> dict[str, float]:
    if not len(scores):
        return {"windows": 0}
    return {
        "windows": len(scores),
        "median": round(float(np.median(scores)), 2),
        "p95": round(float(np.quantile(scores, 0.95)), 2),
        "over_threshold": round(float((scores > threshold).mean()), 4),
    }


def _manifest(
    shape: WindowShape,
    recipe: Recipe,
    teacher: bool,
    learnt: Sequence[WindowSet],
    threshold: float,
    figures: dict[str, Any],
) -> dict[str, Any]:
    return {
        "name": "dyad-int8",
        "version": VERSION,
        "title": "DyAD, convolutional student, static INT8",
        "profile": "battery",
        "profile_version": load_profile("battery").version,
        "channels": [spec.model_dump(exclude_none=True) for spec in CHANNELS],
        "step_s": shape.step_s,
        "period_max_s": max(vehicle.period_s for vehicle in VEHICLES.values()),
        "window": shape.window,
        "stride": shape.stride,
        "hole_max": shape.hole_max,
        "holes_max": shape.holes_max,
        "score": {
            "definition": "Mean over responses of the mean over measured steps of the Huber error (bend at 3) between "
            "response and reconstruction, in units of the response's usual error; near 1 on a healthy window.",
            "threshold": threshold,
            "threshold_from": f"Quantile {QUANTILE} of the INT8 scores of healthy windows of the vehicles' threshold "
            f"spans ({SPANS['threshold'][0]:.0%} to {SPANS['threshold'][1]:.0%} of each healthy span), vehicles equal.",
        },
        "training": {
            "data": "ev-fault: BatICM/unsupervised-battery-faults (MIT)",
            "windows": {part.vehicle: len(part) for part in learnt},
            "spans": {part: list(ends) for part, ends in SPANS.items()},
            "stride": TRAIN_STRIDE,
            "steps": recipe.steps,
            "seed": recipe.seed,
            "teacher": "GRU DyAD" if teacher else None,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "figures": figures,
    }
