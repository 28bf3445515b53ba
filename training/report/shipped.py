"""The shipped bundles' table of docs/detection.md."""

from pathlib import Path
from typing import Any


def report(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Markers -> table."""
    names = list(figures["bundles"])
    lines = [f"| AUROC over 216 vehicles, 95 % | {' | '.join(f'`{name}`' for name in names)} |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for seed in figures["bundles"][names[0]]:
        once = int(seed) in figures["untouched"]
        cells = [_cell(figures["bundles"][name][seed]["vehicle"]) for name in names]
        lines.append(f"| fleet of seed {seed}{', judged once' if once else ''} | {' | '.join(cells)} |")
    return {"shipped.rows": "\n".join(lines)}


def _cell(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{found['auroc']:.3f}, {low:.3f} to {high:.3f}"
