"""A pack bundle on the simulated fleet: AUROC over vehicles, h chosen on the other vehicles of five folds.

`--path`: a YAML file of a fleet's fields (training/simulation/fleet.yaml), from which the fleet is made anew; a Parquet
file of its windows; or a folder that holds one of them. No torch.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from training.data.errors import DataError
from training.data.runs import FAULTY, HEALTHY
from training.data.simulated import as_channels, read_fleet, vehicle_labels
from training.data.simulated import windows as fleet_windows
from training.data.splits import check_classes
from training.data.windows import Windows, read
from training.evaluation.auroc import auroc
from training.evaluation.folds import Outcome, judged
from training.evaluation.scores import Scores, for_bundle, load_of_packs, scores
from training.evaluation.vehicles import separation

SIZES: Final = 3  # faults are graded: groups of equal count
SHORT: Final = "internal_short"  # the smaller the resistance the larger the fault


def evaluate(bundle_dir: Path, path: Path, console: Console) -> dict[str, Any]:
    """Raises BundleError, DataError."""
    bundle = load_of_packs(bundle_dir)
    windows = for_bundle(bundle, as_channels(read_windows(path, console), bundle.manifest.channels), path)
    labels = vehicle_labels(windows)
    check_classes(labels, {name: [label] for name, label in labels.items()}, str(path))
    found = scores(bundle.run, windows)[0]
    return {"bundle": bundle.manifest.id, **figures(windows, found)}


def read_windows(path: Path, console: Console) -> Windows:
    """Raises DataError naming the path when there is no fleet."""
    if path.is_dir():
        files = sorted([*path.glob("*.parquet"), *path.glob("*.yaml")])
        if not files:
            raise DataError(path, "fleet", "neither a .parquet of windows nor a .yaml of a fleet's fields")
        path = files[0]
    if path.suffix == ".parquet":
        return read(path)
    fleet = read_fleet(path)
    console.print(f"{path}: simulating {fleet.healthy} healthy and {6 * fleet.faulty} faulty vehicles")
    return fleet_windows(fleet)


def figures(windows: Windows, found: Scores) -> dict[str, Any]:
    """AUROC over vehicles with its interval, by fault and by its size, and over windows."""
    outcome = judged(windows, found)
    labelled = np.isin(windows.label, (HEALTHY, FAULTY))
    return {
        "vehicle": outcome.as_dict(),
        "fault": by_fault(outcome),
        "window": {"auroc": round(separation(found[labelled], windows.label[labelled] == FAULTY), 4)},
        "n": {
            "vehicles": len(outcome.vehicles.names),
            "faulty": int(outcome.vehicles.faulty.sum()),
            "windows": len(windows),
        },
    }


def by_fault(outcome: Outcome) -> dict[str, Any]:
    """Of each fault: AUROC, mean over the folds; by thirds of its sizes, smallest fault first, all folds together."""
    healthy = outcome.score[~outcome.vehicles.faulty]
    kinds = np.array(outcome.vehicles.fault)
    made: dict[str, Any] = {}
    for kind in sorted(set(kinds.tolist()) - {""}):
        score, size = outcome.score[kinds == kind], outcome.vehicles.size[kinds == kind]
        order = np.argsort(-size if kind == SHORT else size)
        made[kind] = {
            "auroc": round(outcome.of_those(kinds == kind), 4),
            "vehicles": len(score),
            "by_size": [
                {
                    "sizes": [round(float(size[part].min()), 4), round(float(size[part].max()), 4)],
                    "auroc": round(auroc(score[part], healthy) or 0.0, 3),
                }
                for part in np.array_split(order, SIZES)
                if len(part)
            ],
        }
    return made
