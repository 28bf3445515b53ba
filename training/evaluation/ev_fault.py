"""A pack bundle on real vehicles: what is raised on healthy spans, and how soon the drifting cell is found. No torch.

Windows are those of the service (the manifest's step, window and stride); the rule is the shipped one of the bundle's
name (rules/battery.yaml), where there is one. A vehicle was learnt from up to 60 % of its healthy span, and the
threshold taken up to 80 % (`test` is what follows); `vehicle_days` are days that windows cover.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from services.alert.rules import ScoreRule, load_rules
from services.bus.settings import ROOT
from services.inference.bundle import Bundle
from training.data import ev_fault
from training.data.cut import WindowShape, cut
from training.data.runs import FAULTY, HEALTHY, UNKNOWN
from training.data.windows import Windows
from training.evaluation.auroc import auroc
from training.evaluation.rule import Rule, raised, upper_bound
from training.evaluation.scores import Scores, load_of_packs, scores

KINDS: Final = {HEALTHY: "healthy", UNKNOWN: "unlabelled", FAULTY: "faulty"}
DEFAULT: Final = Rule(8, 10, 2)  # for a bundle without a rule
DAY_S: Final = 86_400.0


def evaluate(bundle_dir: Path, path: Path, console: Console) -> dict[str, Any]:
    """Raises BundleError, DataError, SourceError."""
    bundle = load_of_packs(bundle_dir)
    rule = rule_of(bundle.manifest.name)
    vehicles: dict[str, Any] = {}
    healthy, faulty, days, raises = [], [], 0.0, 0
    for run in ev_fault.load(path):
        console.print(f"{run.unit}: {KINDS[run.label]}, {len(run)} rows")
        windows = cut(run, bundle.manifest.channels, shape_of(bundle))
        found = scores(bundle.run, windows)[0]
        entry = of_run(bundle, rule, windows, found)
        vehicles.setdefault(run.unit, {})[KINDS[run.label]] = entry
        healthy.append(found[windows.label == HEALTHY])
        faulty.append(found[windows.label == FAULTY])
        if run.label == HEALTHY:
            days += entry["vehicle_days"]
            raises += len(entry["raised"])
    separated = auroc(np.concatenate(faulty), np.concatenate(healthy))
    return {
        "bundle": bundle.manifest.id,
        "rule": {"k": rule.k, "n": rule.n, "clear_k": rule.clear_k, "threshold": bundle.manifest.score.threshold},
        "vehicle": vehicles,
        "healthy": {
            "vehicle_days": round(days, 2),
            "raised": raises,
            "a_day": round(raises / days, 4) if days else None,
            "a_day_below": round(upper_bound(raises) / days, 4) if days else None,
        },
        "window": {"auroc": None if separated is None else round(separated, 4)},
    }


def shape_of(bundle: Bundle) -> WindowShape:
    manifest = bundle.manifest
    return WindowShape(manifest.step_s, manifest.window, manifest.stride, manifest.hole_max, manifest.holes_max)


def rule_of(model: str) -> Rule:
    """The shipped rule over this bundle's score, or DEFAULT."""
    for rule in load_rules([ROOT / "rules" / "battery.yaml"]).by_name().values():
        if isinstance(rule, ScoreRule) and rule.model == model:
            return Rule(rule.k, rule.n, rule.clear_k)
    return DEFAULT


def of_run(bundle: Bundle, rule: Rule, windows: Windows, found: Scores) -> dict[str, Any]:
    """Figures of one recording's windows."""
    threshold = bundle.manifest.score.threshold
    if not len(found):
        return {"windows": 0, "vehicle_days": 0.0, "raised": []}
    at = raised(found > threshold, rule)
    length = bundle.manifest.window * bundle.manifest.step_s
    return {
        "windows": len(found),
        "vehicle_days": round(covered_days(windows, length), 3),
        "median": round(float(np.median(found)), 3),
        "p95": round(float(np.quantile(found, 0.95)), 3),
        "over_threshold": round(float((found > threshold).mean()), 4),
        "raised": [datetime.fromtimestamp(windows.start_s[i] + length, UTC).isoformat(timespec="minutes") for i in at],
    }


def covered_days(windows: Windows, length_s: float) -> float:
    """Days that at least one window covers."""
    start = np.sort(windows.start_s)
    steps = np.minimum(np.diff(start), length_s)
    return float(steps.sum() + length_s) / DAY_S if len(start) else 0.0
