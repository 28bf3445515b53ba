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
    """AUROC, size and time of each form, side by side."""
    titles = [title for title in figures["latency"] if title in figures["rows"]]
    places = list(range(len(titles), 0, -1))
    panels = {
        "AUROC, simulated vehicles": [figures["rows"][title].get("auroc") for title in titles],
        "size, kB": [figures["rows"][title]["bytes"] / 1e3 for title in titles],
        "a window, ms (median)": [figures["latency"][title]["median"] for title in titles],
    }
    figure, axes = sheet(9.5, 4.6, 1, 3)
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        for place, title, value in zip(places, titles, values, strict=True):
            if value is not None:
                axis.plot(value, place, "o", color=RED if "INT8" in title else BLUE)
        axis.set(xlabel=name, ylim=(0.3, len(titles) + 0.7))
        axis.set_yticks(places, titles if axis is axes[0] else [""] * len(titles))
        axis.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    axes[1].set_xscale("log")
    axes[1].set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
    axes[1].minorticks_off()
    axes[2].set_xlim(left=0)
    save(figure, path)
