"""What the baselines share: the same windows as the pack detector's, and the manifest of a reference bundle."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from rich.progress import Progress

from services.bus.profiles import load_profile
from services.inference.bundle import Manifest
from training.compress.bundle import operators, write_bundle
from training.data.cut import WindowShape
from training.data.windows import Windows
from training.models.pack import CHANNELS
from training.models.snippets import Snippets, join
from training.packs import PERIOD_MAX_S, SPANS, TRAIN_STRIDE, healthy, snippets, vehicles
from training.trainers.pack import FleetConfig, counted, figures_of, fleet_windows

VERSION: Final = "1.0.0"


@dataclass(frozen=True, slots=True)
class Learnt:
    """Windows of the ev-fault vehicles by span, of the simulated fleet, and the healthy ones ready to learn from."""

    real: dict[str, Windows]
    fleet: dict[str, Windows] | None
    train: Snippets
    units: Snippets  # healthy, not learnt from


def read(data: Path, shape: WindowShape, fleet: FleetConfig | None, progress: Progress) -> Learnt:
    """Read the vehicles and make the fleet. Raises DataError or SourceError when a recording cannot be read."""
    task = progress.add_task("reading the vehicles", total=1)
    real = vehicles(data, CHANNELS, shape)
    progress.advance(task)
    made = None if fleet is None else fleet_windows(fleet)
    share = 0.0 if fleet is None else fleet.share
    train = [snippets(healthy(real["train"]), CHANNELS, 1 - share)]
    units = [snippets(healthy(real["threshold"]), CHANNELS)]
    if made is not None:
        train.append(snippets(made["train"], CHANNELS, share))
        units.append(snippets(made["threshold"], CHANNELS))
    return Learnt(real, made, join(train), join(units))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the manifest says of one detector."""

    name: str
    title: str
    definition: str
    limits: tuple[str, ...]
    config: dict[str, Any]


def finish(
    out: Path,
    model: bytes,
    about: Baseline,
    learnt: Learnt,
    shape: WindowShape,
    quantile: float,
    plain: bytes | None = None,
    more: dict[str, Any] | None = None,
) -> Manifest:
    """Threshold, figures, manifest, folder.

    Args:
        plain: the float graph of an INT8 one.
        more: figures besides.
    """
    threshold, figures = figures_of(model, plain or model, learnt.real, learnt.fleet, quantile)
    sets = [healthy(learnt.real["train"]), *([learnt.fleet["train"]] if learnt.fleet else [])]
    manifest = {
        "name": about.name,
        "version": VERSION,
        "title": about.title,
        "purpose": "reference",
        "profile": "battery",
        "profile_version": load_profile("battery").version,
        "channels": [spec.model_dump(exclude_none=True) for spec in CHANNELS],
        **asdict(shape),
        "period_max_s": PERIOD_MAX_S,
        "score": {
            "definition": about.definition,
            "threshold": threshold,
            "threshold_from": f"Quantile {quantile} of healthy windows of the vehicles' threshold spans "
            f"({SPANS['threshold'][0]:.0%} to {SPANS['threshold'][1]:.0%} of each healthy recording) and of simulated "
            "vehicles that were not learnt from, vehicles equal.",
        },
        "training": {
            "data": "ev-fault: BatICM/unsupervised-battery-faults (MIT)"
            + ("; simulated fleet" if learnt.fleet else ""),
            "windows": {name: count for part in sets for name, count in counted(part).items()},
            "spans": {part: list(ends) for part, ends in SPANS.items()},
            "stride": TRAIN_STRIDE,
            "config": about.config,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "figures": figures | {"operators": operators(model)} | (more or {}),
        "limits": list(about.limits),
    }
    return write_bundle(out, model, manifest)
