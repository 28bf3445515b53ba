"""A pack bundle on your own recordings: what its rule would have raised, and how often a day. No torch.

Nothing is known of their labels: on a healthy device whatever is raised is a false alarm, and scores tell whether the
threshold fits it.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from training.data import own
from training.data.cut import cut
from training.evaluation.ev_fault import of_run, rule_of, shape_of
from training.evaluation.rule import upper_bound
from training.evaluation.scores import load_of_packs, scores


def evaluate(bundle_dir: Path, path: Path, console: Console) -> dict[str, Any]:
    """`path`: a recording (.parquet, .csv) that a shipped column map fits, or a folder of them.

    Raises BundleError, DataError, SourceError.
    """
    bundle = load_of_packs(bundle_dir)
    rule = rule_of(bundle.manifest.name)
    recordings: dict[str, list[dict[str, Any]]] = {}
    days, raises = 0.0, 0
    for run in own.load(path):
        console.print(f"{run.unit}: {len(run)} rows")
        windows = cut(run, bundle.manifest.channels, shape_of(bundle))
        entry = of_run(bundle, rule, windows, scores(bundle.run, windows)[0])
        recordings.setdefault(run.unit, []).append(entry)
        days += entry["vehicle_days"]
        raises += len(entry["raised"])
    return {
        "bundle": bundle.manifest.id,
        "rule": {"k": rule.k, "n": rule.n, "clear_k": rule.clear_k, "threshold": bundle.manifest.score.threshold},
        "recording": recordings,
        "device_days": round(days, 3),
        "raised": raises,
        "a_day": round(raises / days, 4) if days else None,
        "a_day_below": round(upper_bound(raises) / days, 4) if days else None,
    }
