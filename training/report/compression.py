"""The compression part of docs/detection.md: AUROC, size, operators and time of each form of the pack detector."""

from pathlib import Path
from typing import Any

from training.report.drawing import BLUE, GREY, RED, save, sheet

Rows = dict[str, Any]


def report(figures: Rows, folder: Path) -> dict[str, str]:
    """Markers -> table; writes compression.svg."""
    picture(figures, folder / "compression.svg")
    return {"compression.rows": rows(figures), "compression.stream": stream(figures)}


def rows(figures: Rows) -> str:
    lines = ["| form | AUROC, vehicles | bytes | min, ms | median, ms | integer | float |", "|---" * 7 + "|"]
    for title, time in figures["latency"].items():
        row = figures["rows"].get(title, {})
        auroc = f"{row['auroc']:.3f}" if "auroc" in row else "-"
        size = f"{row['bytes']:,}" if "bytes" in row else "-"
        work = [_work(row[kind]) if kind in row else "all" if kind == "float" else "-" for kind in ("integer", "float")]
        times = f"{time['min']:.3f} | {time['median']:.3f}"
        lines.append(f"| {title} | {auroc} | {size} | {times} | {work[0]} | {work[1]} |")
    return "\n".join([*lines, "", f"{figures['folds']} folds over the simulated fleet's vehicles; times of one run."])


def stream(figures: Rows) -> str:
    """The cell's net by windows and by steps."""
    lines = ["| net of `cell-int8` | min, ms | median, ms |", "|---" * 3 + "|"]
    for title, time in figures["stream"].items():
        lines.append(f"| {title} | {time['min']:.3f} | {time['median']:.3f} |")
    return "\n".join(lines)


def _work(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "none"


def picture(figures: Rows, path: Path) -> None:
    """AUROC over size; a point's area is its time."""
    figure, [axes] = sheet(7.2, 4.4)
    for title, row in figures["rows"].items():
        if "auroc" not in row:
            continue
        time = figures["latency"][title]["median"]
        colour = RED if "INT8" in title and "dynamic" not in title else BLUE if "float" in title else GREY
        axes.scatter(row["bytes"] / 1e3, row["auroc"], s=400 * time, color=colour, alpha=0.6, linewidth=0)
        axes.annotate(f"{title}, {time:.2f} ms", (row["bytes"] / 1e3, row["auroc"]), fontsize="x-small")
    axes.set(xlabel="size, kB (area: time of a window)", ylabel="AUROC over simulated vehicles")
    save(figure, path)
