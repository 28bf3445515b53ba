"""The simulated fleet's part of docs/detection.md: AUROC over vehicles, by fault; what the net sees, in pictures."""

from pathlib import Path
from typing import Any, Final

from training.report.drawing import BLUE, GREY, RED, save, sheet

FAULTS: Final = ("internal_short", "joint", "capacity_fade", "imbalance", "cooling_loss", "sensor_drift")
STEP_MIN: Final = 10 / 60
DRAWN: Final = {"student, INT8": RED, "teacher, as shipped": BLUE, "published, squared": GREY}  # in the ROC
Rows = dict[str, Any]


def report(figures: Rows, folder: Path) -> dict[str, str]:
    """Markers -> tables; writes fleet_*.svg."""
    roc(figures["rows"], folder / "fleet_roc.svg")
    if "examples" in figures:
        reconstruction(figures["examples"]["reconstruction"], folder / "fleet_reconstruction.svg")
        latent(figures["examples"]["latent"], folder / "fleet_latent.svg")
        life(figures["examples"]["life"], folder / "fleet_life.svg")
    return {"fleet.rows": rows(figures)}


def rows(figures: Rows) -> str:
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


def roc(found: Rows, path: Path) -> None:
    """True over false positive vehicles, 95 % band by bootstrap."""
    figure, [axes] = sheet(4.8, 4.2)
    for name, colour in DRAWN.items():
        if name in found:
            line = found[name]["vehicle"]["roc"]
            title = f"{name} ({found[name]['vehicle']['auroc']:.2f})"
            axes.plot(line["false"], line["true"], color=colour, label=title)
            axes.fill_between(line["false"], line["low"], line["high"], color=colour, alpha=0.12, linewidth=0)
    axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="healthy vehicles called faulty", ylabel="faulty vehicles found", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(frameon=False, loc="lower right")
    save(figure, path)


def reconstruction(found: Rows, path: Path) -> None:
    """Current, and the lowest cell (less its level and the polynomial) with what the net makes of it."""
    figure, axes = sheet(9, 4.2, 2, 2, share=True)
    for column, (name, one) in enumerate(found.items()):
        minutes = [i * STEP_MIN for i in range(len(one["current"]))]
        fault = f": {one['fault'].replace('_', ' ')}" if one["fault"] else ""
        above, below = axes[column], axes[2 + column]
        above.plot(minutes, one["current"], color=GREY)
        above.set(title=f"{name}{fault}, score {one['score']:.1f}", ylabel="current, A" if not column else None)
        below.plot(minutes, one["lowest_cell_mv"], color=RED, label="measured")
        below.plot(minutes, one["reconstructed_mv"], color=BLUE, label="reconstructed")
        below.set(xlabel="minutes", ylabel="lowest cell*, mV" if not column else None)
    axes[2].legend(frameon=False)
    save(figure, path)


def latent(found: Rows, path: Path) -> None:
    """The latents' two main directions, by fault."""
    figure, [axes] = sheet(6, 4.2)
    for kind in ("", *FAULTS):
        mine = [i for i, fault in enumerate(found["fault"]) if fault == kind]
        if mine:
            axes.scatter(
                [found["x"][i] for i in mine],
                [found["y"][i] for i in mine],
                s=8 if kind else 5,
                color=None if kind else "lightgrey",
                label=kind.replace("_", " ") or "healthy",
                zorder=2 if kind else 1,
            )
    axes.set(xlabel="first direction of the latent", ylabel="second")
    axes.legend(frameon=False, fontsize="small", ncols=2)
    save(figure, path)


def life(found: list[Rows], path: Path) -> None:
    """Score by day of a vehicle without a fault and of one with each."""
    figure, axes = sheet(9, 4.4, (len(found) + 3) // 4, 4)
    for axis, one in zip(axes, found, strict=False):
        for faulty, colour in ((False, BLUE), (True, RED)):
            mine = [i for i, is_faulty in enumerate(one["faulty"]) if is_faulty == faulty]
            axis.scatter([one["day"][i] for i in mine], [one["score"][i] for i in mine], s=5, color=colour)
        axis.set_title(one["fault"].replace("_", " ") or "healthy", fontsize="medium", loc="left")
        axis.set(yscale="log", ylim=(0.08, 15))
        axis.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(found) - 4) : len(found)]:
        axis.set_xlabel("day")
    for axis in axes[::4]:
        axis.set_ylabel("score")
    save(figure, path)


def _number(found: Any) -> str:
    value = found.get("auroc") if isinstance(found, dict) else found
    return "-" if value is None else f"{value:.3f}"
