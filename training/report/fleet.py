"""The simulated fleet's part of docs/detection.md: AUROC over vehicles, by fault."""

from pathlib import Path
from typing import Any, Final

FAULTS: Final = ("internal_short", "joint", "capacity_fade", "imbalance", "cooling_loss", "sensor_drift")


def report(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Markers -> tables."""
    return {"fleet.rows": rows(figures)}


def rows(figures: dict[str, Any]) -> str:
    titles = " | ".join(fault.replace("_", " ") for fault in FAULTS)
    lines = [f"| | vehicles | 95 % | {titles} |", "|---" * (len(FAULTS) + 3) + "|"]
    shipped = {f"shipped {figures['shipped']['bundle']}": figures["shipped"]} if "shipped" in figures else {}
    for name, row in (figures["rows"] | shipped).items():
        low, high = row["vehicle"]["ci95"]
        by_fault = " | ".join(_number(row["fault"].get(fault)) for fault in FAULTS)
        lines.append(f"| {name} | {_number(row['vehicle'])} | {low:.3f} to {high:.3f} | {by_fault} |")
    n = figures["n"]
    lines += [
        "",
        f"{n['vehicles']} vehicles, {n['faulty']} of them faulty, {n['windows']} windows; five folds over vehicles.",
    ]
    return "\n".join(lines)


def _number(found: Any) -> str:
    value = found.get("auroc") if isinstance(found, dict) else found
    return "-" if value is None else f"{value:.3f}"
