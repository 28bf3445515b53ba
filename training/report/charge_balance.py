"""Table and picture of the charge balance."""

from pathlib import Path
from typing import Any

WORDS = {
    "raw": "Ah in - Ah out",
    "corrected": "end points corrected",
    "less_own": "less the cell's own healthy cycles",
}
OHMS = ("10", "30", "50", "100", "200", "le100")
MEAN_V = 3.7


def report(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """The table; leak_by_ohm.svg beside the figures."""
    _picture(figures, folder / "leak_by_ohm.svg")
    head = [
        "| AUROC against BD / same cell | " + " | ".join(f"{o} ohm" if o.isdigit() else "<= 100 ohm" for o in OHMS),
    ]
    lines = [f"{head[0]} | without run 807 |", "|---" * (len(OHMS) + 2) + "|"]
    for name, word in WORDS.items():
        found = figures["auroc"][name]
        cells = [_pair(found["all"].get(ohm, {})) for ohm in OHMS]
        lines.append(f"| {word} | {' | '.join(cells)} | {_pair(found['without_807']['le100'])} |")
    interval = figures["auroc"]["corrected"]["ci95"]["le100"]
    ends = " / ".join("-" if i is None else f"{i[0]:.3f} to {i[1]:.3f}" for i in interval.values())
    closed = figures["auroc"]["raw"]["n"]
    lines += [
        "",
        f"{figures['config']['folds']} folds by protocol; {closed['bd']} healthy cycles of BD, {closed['same_cell']} "
        f"of the same cell, {closed['le100']} faulty up to 100 ohm. 95 % interval of the corrected row, <= 100 ohm: "
        f"{ends}. The correction is on for {', '.join(figures['corrected']) or 'none'}. Left out as "
        f"open: {', '.join(f'run {run} ({why})' for run, why in figures['open'].items()) or 'none'}.",
        "",
        "![Leak read by charge balance against the resistor](detection/leak_by_ohm.svg)",
    ]
    return {"charge_balance": "\n".join(lines)}


def _pair(contrast: dict[str, float | None]) -> str:
    return "/".join("-" if v is None else f"{v:.3f}" for v in (contrast.get("bd"), contrast.get("same_cell")))


def _picture(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = path.stem
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    for name, marker in (("raw", "x"), ("corrected", "o"), ("less_own", "s")):
        typical = figures["leak_a"][name]["median_by_ohm"]
        axes.plot([float(o) for o in typical], [1e3 * v for v in typical.values()], marker, ms=4, label=WORDS[name])
    ohms = [float(o) for o in figures["leak_a"]["raw"]["median_by_ohm"]]
    axes.plot(ohms, [1e3 * MEAN_V / o for o in ohms], "-", lw=0.8, color="black", label=f"{MEAN_V} V / R")
    scatter = figures["leak_a"]["corrected"]["healthy"]
    worst = max(one["mad"] for one in scatter.values())
    axes.axhspan(-1e3 * worst, 1e3 * worst, color="tab:green", alpha=0.15, label="healthy cycles, 1 MAD")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_xlabel("resistor across the cell [ohm]")
    axes.set_ylabel("leak read, median [mA]")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
