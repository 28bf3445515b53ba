"""The ev-fault vehicles as windows, split by contiguous spans of time (reading them: training/data/ev_fault.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.inference.channels import ChannelSpec
from training.data.cut import WindowShape as WindowShape
from training.data.cut import steps
from training.data.ev_fault import VEHICLES as VEHICLES
from training.data.ev_fault import read_rows
from training.data.runs import Floats, Times

Part = Literal["train", "threshold", "test", "late"]
SPANS: Final[dict[Part, tuple[float, float]]] = {"train": (0.0, 0.6), "threshold": (0.6, 0.8), "test": (0.8, 1.0)}
"""Parts of the healthy span, by rows, in order of time. A window that lies over a border belongs to none."""


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Windows of one vehicle. values, mask: (n, window, channels), physical units; start: time of the first row."""

    vehicle: str
    part: Part
    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    start: NDArray[np.datetime64]
    warned: NDArray[np.bool_]  # a row of the window has a BMS warning

    def __len__(self) -> int:
        return len(self.values)

    def healthy(self) -> "WindowSet":
        keep = ~self.warned
        return WindowSet(
            self.vehicle, self.part, self.values[keep], self.mask[keep], self.start[keep], self.warned[keep]
        )


def cut(
    folder: Path, name: str, specs: tuple[ChannelSpec, ...], shape: WindowShape, only: tuple[Part, ...] | None = None
) -> list[WindowSet]:
    """All windows of a vehicle, one set a part.

    Raises:
        FileNotFoundError: the vehicle's file is not in `folder`.
    """
    vehicle = VEHICLES[name]
    time, channels, warned = read_rows(vehicle, folder)
    healthy = len(time) if vehicle.healthy_until is None else int((time < vehicle.healthy_until.timestamp()).sum())
    bounds = {part: (int(a * healthy), int(b * healthy)) for part, (a, b) in SPANS.items()}
    bounds["late"] = (healthy, len(time))
    return [
        _windows(name, part, time, channels, warned, rows, specs, shape)
        for part, rows in bounds.items()
        if rows[1] > rows[0] and (only is None or part in only)
    ]


def _windows(
    name: str,
    part: Part,
    time: Times,
    channels: dict[str, Floats],
    warned: NDArray[np.bool_],
    rows: tuple[int, int],
    specs: tuple[ChannelSpec, ...],
    shape: WindowShape,
) -> WindowSet:
    found = list(steps(time, channels, rows, specs, shape, VEHICLES[name].period_s))
    size = (0, shape.window, len(specs))
    return WindowSet(
        name,
        part,
        np.stack([window.values for window in found]) if found else np.zeros(size, np.float32),
        np.stack([window.mask for window in found]) if found else np.zeros(size, np.float32),
        np.array([np.datetime64(round(time[w.first] * 1e6), "us") for w in found], dtype="datetime64[us]"),
        np.array([warned[window.first : window.last + 1].any() for window in found], dtype=bool),
    )
