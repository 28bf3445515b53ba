"""The picture of docs/simulation.md: the pack model beside SPMe, and their difference."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot

from services.sensor.simulated.cell import reference_cell
from training.simulation.profiles import STEP_S
from training.simulation.reference import Deviation, compare, read_trajectories

SHOWN: Final = (("town", 17.5), ("charge, tapering", 17.5), ("pulses", 32.0))


def draw(reference: Path, out: Path) -> None:
    """Raises DataError when the trajectories cannot be read."""
    deviations = compare(reference_cell(), read_trajectories(reference))
    # the same picture, byte by byte, whenever it is drawn
    mpl.rcParams |= {"svg.hashsalt": "emberwatch", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    figure, axes = pyplot.subplots(2, len(SHOWN) + 1, figsize=(11, 4), height_ratios=(2, 1), layout="constrained")
    for column, (name, temperature) in enumerate(SHOWN):
        found = [d for d in deviations if (d.trajectory.profile.name, d.trajectory.temperature) == (name, temperature)]
        _profile(axes[:, column], found[0], f"{name}, {temperature:g} °C")
    axes[0, 0].set_ylabel("V")
    axes[1, 0].set_ylabel("model - SPMe, mV")
    _windows(axes[:, -1], deviations)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})
    pyplot.close(figure)


def _profile(axes: Any, deviation: Deviation, title: str) -> None:
    hours = np.arange(len(deviation.error)) * STEP_S / 3600
    voltage = deviation.trajectory.voltage
    axes[0].plot(hours, voltage, color="0.6", linewidth=2.5, label="SPMe")
    axes[0].plot(hours, voltage + deviation.error, color="C3", linewidth=0.7, label="model")
    axes[0].set_title(title, fontsize=8)
    axes[0].legend(frameon=False, fontsize=7)
    axes[1].axhspan(-2, 2, color="0.92")
    axes[1].plot(hours, 1e3 * deviation.error, color="C3", linewidth=0.7)
    axes[1].set_ylim(-6, 6)
    axes[1].set_xlabel("h")


def _windows(axes: Any, deviations: list[Deviation]) -> None:
    """How many windows stay below what."""
    for axis, column, goal, label in ((axes[0], 0, 2.0, "RMSE"), (axes[1], 1, 1.0, "drift")):
        for temperature in sorted({d.trajectory.temperature for d in deviations}):
            windows = [d.windows[:, column] for d in deviations if d.trajectory.temperature == temperature]
            values = np.sort(1e3 * np.concatenate(windows))
            axis.plot(values, np.arange(1, len(values) + 1) / len(values), linewidth=0.9, label=f"{temperature:g} °C")
        axis.axvline(goal, color="0.6", linestyle=":")
        axis.set_xlabel(f"{label} of a window, mV")
        axis.set_xlim(0, 4 if column == 0 else 3)
    axes[0].set_title("windows of 128 steps", fontsize=8)
    axes[0].legend(frameon=False, fontsize=7)
