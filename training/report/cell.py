"""The cell detector's part of docs/detection.md: tables, and AUROC by size of the short with its interval."""

from pathlib import Path
from typing import Any, Final

from training.report.drawing import BLUE, RED, save, sheet

SIZES: Final = ("10", "20", "30", "50", "100", "200", "le100")
ROWS: Final = (
    "base alone, squared",
    "squared",
    "top quarter",
    "squared + top quarter",
    "leak odds",
    "leak head",
    "leak head, INT8",
    "labels",
    "chosen",
)
COLOURS: Final = {"window": BLUE, "run": RED}


def report(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Markers -> tables; writes cell_by_size.svg."""
    picture(figures, folder / "cell_by_size.svg")
    return {
        "cell.rows": rows(figures),
        "cell.chosen": chosen(figures),
        "cell.latency": latency(figures),
        "cell.rules": rules(figures),
    }


def rows(figures: dict[str, Any]) -> str:
    """Window scores, AUROC against BD / against the same cell."""
    lines = [f"| window | {' | '.join(title(s) for s in SIZES)} | run mean |", "|---" * (len(SIZES) + 2) + "|"]
    for name in (*ROWS, *(n for n in figures["rows"] if n not in ROWS)):
        if name in figures["rows"]:
            row = figures["rows"][name]
            cells = [pair(row["window"].get(size)) for size in SIZES]
            lines.append(f"| {name} | {' | '.join(cells)} | {pair(row['run'].get('le100'))} |")
    return "\n".join(lines)


def chosen(figures: dict[str, Any]) -> str:
    """The row that the inner folds chose, with intervals and without run 807."""
    found = figures["chosen"]
    lines = ["| | all BD | 95 % | same cell | 95 % | same cell, without run 807 |", "|---" * 6 + "|"]
    for what in ("window", "run"):
        for size in SIZES:
            if size in found[what]:
                both, ends = found[what][size], found["ci95"][what][size]
                without = found["without_807"][what][size]["same_cell"]
                cells = [f"{what}, {title(size)}"]
                for side in ("bd", "same_cell"):
                    cells += [_number(both[side]), _interval(ends[side])]
                lines.append("| " + " | ".join([*cells, _number(without)]) + " |")
    return "\n".join(lines)


def rules(figures: dict[str, Any]) -> str:
    """How a run's windows become one score."""
    lines = ["| run is | <= 100 ohm | 10 | 100 |", "|---" * 4 + "|"]
    for rule, row in figures["rules"].items():
        lines.append(f"| {rule} | {pair(row['le100'])} | {pair(row.get('10'))} | {pair(row.get('100'))} |")
    for count, both in figures["by_place"].items():
        lines.append(f"| mean of the first {count} | {pair(both)} | | |")
    return "\n".join(lines)


def latency(figures: dict[str, Any]) -> str:
    """Graph and net in one run."""
    lines = ["| | min, ms | median, ms | bytes |", "|---" * 4 + "|"]
    for name, row in figures["latency"].items():
        lines.append(f"| {name} | {row['min_ms']:.3f} | {row['median_ms']:.3f} | {row.get('bytes', '')} |")
    return "\n".join(lines)


def picture(figures: dict[str, Any], path: Path) -> None:
    """AUROC against the same cell by size of the resistor, with 95 % intervals."""
    figure, [axes] = sheet(6.4, 3.6)
    found = figures["chosen"]
    for what, colour in COLOURS.items():
        sizes = [size for size in SIZES if size in found[what] and size != "le100"]
        values = [found[what][size]["same_cell"] for size in sizes]
        ends = [found["ci95"][what][size]["same_cell"] for size in sizes]
        ohms = [float(size) for size in sizes]
        axes.plot(ohms, values, marker="o", color=colour, label=f"one {what}")
        axes.fill_between(ohms, [e[0] for e in ends], [e[1] for e in ends], color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="resistor across the cell, ohm", ylabel="AUROC, same cell", ylim=(0.45, 1.01))
    axes.set_xticks([float(s) for s in SIZES if s != "le100"], [s for s in SIZES if s != "le100"])
    axes.minorticks_off()
    axes.legend(frameon=False)
    save(figure, path)


def title(size: str) -> str:
    return "all <= 100 ohm" if size == "le100" else f"{size} ohm"


def pair(both: dict[str, float | None] | None) -> str:
    return "" if both is None else f"{_number(both['bd'])}/{_number(both['same_cell'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".lstrip("0") if value < 1 else "1.0"


def _interval(ends: list[float] | None) -> str:
    return "-" if ends is None else f"{_number(ends[0])} to {_number(ends[1])}"
