"""What all pictures have in common."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

plt.rcParams["svg.hashsalt"] = "emberwatch"  # the same figures give the same file
BLUE, RED, GREY = "#1f77b4", "#d62728", "#7f7f7f"


def sheet(
    width: float, height: float, rows: int = 1, columns: int = 1, *, share: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its axes, row by row; `share`: x axes alike."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, sharex="col" if share else "none"
    )
    found = [axis for row in axes for axis in row]
    for axis in found:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, found


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
