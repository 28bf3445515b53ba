"""A bundle on EVBattery's snippets: AUROC over vehicles, h chosen on the other vehicles of five folds. No torch.

The bundle must read the snippets' columns: DyAD as published does (configs/dyad-brand1.yaml and its like). Vehicles
that it learnt from are among the healthy ones, unless `--path` holds others.
"""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from training.data.runs import FAULTY, HEALTHY
from training.data.splits import check_classes
from training.evaluation.folds import judged
from training.evaluation.scores import load_of_packs, scores
from training.evaluation.vehicles import separation
from training.sources import read_snippets


def evaluate(bundle_dir: Path, path: Path, console: Console) -> dict[str, Any]:
    """Raises BundleError; DataError: a snippet breaks a rule, a column of the bundle is missing, one class only."""
    bundle = load_of_packs(bundle_dir)
    manifest = bundle.manifest
    columns = [channel.name for channel in manifest.channels]
    with Progress(console=console) as progress:
        windows = read_snippets("evbattery", path, columns, manifest.window, manifest.step_s, progress).windows
    windows = windows.select(np.isin(windows.label, (HEALTHY, FAULTY)))
    labels = {name: set(windows.label[windows.group == name].tolist()) for name in set(windows.group.tolist())}
    check_classes(labels, labels, str(path))
    found = scores(bundle.run, windows)[0]
    return {
        "bundle": manifest.id,
        "vehicle": judged(windows, found).as_dict(),
        "window": {"auroc": round(separation(found, windows.label == FAULTY), 4)},
        "n": {"vehicles": len(labels), "windows": len(windows)},
    }
