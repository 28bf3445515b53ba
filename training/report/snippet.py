"""The bare snippet's row of docs/detection.md."""

from pathlib import Path
from typing import Any

from training.report.cell import SIZES, pair, title


def report(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Markers -> table."""
    sizes = " | ".join(title(size) for size in SIZES)
    lines = [f"| DyAD as published | {sizes} | run mean |", "|---" * (len(SIZES) + 2) + "|"]
    for name, row in figures.items():
        cells = [pair(row["window"].get(size)) for size in SIZES]
        lines.append(f"| {name} error | {' | '.join(cells)} | {pair(row['run'].get('le100'))} |")
    return {"snippet.rows": "\n".join(lines)}
