"""The ev-fault vehicles as windows: read as the services read them, labelled, split by contiguous spans of time.

Windows come out of the inference service's own reduction, so a net is trained on what it will be given.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from services.bus.messages import Values
from services.bus.profiles import load_profile
from services.inference.channels import ChannelReader, ChannelSpec
from services.inference.reduce import Reducer
from services.inference.window import Windows

Part = Literal["train", "threshold", "test", "late"]
PROBE_MISSING: Final = (0.0, 255.0)  # raw values of a probe that says nothing
CELL_RANGE: Final = (0.5, 5.5)  # V; zeros mean missing, car1 row 7793 reads 66 V


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One recording. A healthy window ends before `healthy_until` and has no row with a BMS warning of `unhealthy`."""

    file: str
    period_s: float
    healthy_until: datetime | None = None
    unhealthy: tuple[int, ...] = (1, 2, 3)
    probe_offset: float = -40.0  # probes are raw bytes, degC + 40


VEHICLES: Final = {
    "car1": Vehicle("car1.parquet", 1.0, probe_offset=0.0),
    # Cell V_82 drifts away from about July 2019; June is in neither span. Its early warnings of levels 2 and 3 are
    # single rows scattered over the days with an ordinary cell spread; those of level 1 come with 0.17 V.
    "car2": Vehicle("car2.parquet", 30.0, datetime(2019, 6, 1), unhealthy=(1,)),
    "car3": Vehicle("car3.parquet", 10.0),
}
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


@dataclass(frozen=True, slots=True)
class WindowShape:
    """How windows are cut; the manifest's fields of these names."""

    step_s: float = 10.0
    window: int = 128
    stride: int = 16
    hole_max: int = 12
    holes_max: int = 32


def read_rows(
    vehicle: Vehicle, folder: Path
) -> tuple[NDArray[np.datetime64], dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Times, channels by the names of the battery profile (missing = NaN), rows with an `unhealthy` warning."""
    table = parquet.read_table(folder / vehicle.file)
    names = table.schema.names

    def column(name: str) -> NDArray[np.float32]:
        return np.asarray(table[name].to_numpy(), dtype=np.float32)

    cells = np.stack([column(name) for name in names if name.startswith("V_")], axis=1)
    cells[(cells < CELL_RANGE[0]) | (cells > CELL_RANGE[1])] = np.nan
    channels = {
        "voltage": column("BMSBatteryVoltage"),
        "current": -column("BMSBatteryCurrent"),  # the files count discharge positive
        "cell_voltages": cells,
    }
    channels["voltage"] = np.where(channels["voltage"] > 0, channels["voltage"], np.nan)
    # as the sensor derives them: the BMS's own extremes lag by up to 50 mV, and are not what will be judged
    probes = np.stack(
        [column(name) for name in names if name.startswith("T_")] or [np.full(len(cells), np.nan)], axis=1
    )
    probes[np.isin(probes, PROBE_MISSING)] = np.nan
    for name, part, scalar in (("cell_voltage", cells, "BMSCellVoltage"), ("temperature", probes, "BMSProbeTemp")):
        offset = vehicle.probe_offset if name == "temperature" else 0.0
        for end, extreme in (("max", np.nanmax), ("min", np.nanmin)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a row in which no element reads
                derived = extreme(part, axis=1) + offset
            said = column(f"{scalar}{end.capitalize()}")
            channels[f"{name}_{end}"] = np.where(np.isnan(derived), said, derived).astype(np.float32)
    level = column("BMSWarningInformation") if "BMSWarningInformation" in names else np.zeros(len(cells))
    return table["tboxTime"].to_numpy(), channels, np.isin(level, vehicle.unhealthy)


def cut(
    folder: Path, name: str, specs: tuple[ChannelSpec, ...], shape: WindowShape, only: tuple[Part, ...] | None = None
) -> list[WindowSet]:
    """All windows of a vehicle, one set a part.

    Raises:
        FileNotFoundError: the vehicle's file is not in `folder`.
    """
    vehicle = VEHICLES[name]
    time, channels, warned = read_rows(vehicle, folder)
    healthy = len(time) if vehicle.healthy_until is None else int((time < np.datetime64(vehicle.healthy_until)).sum())
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
    time: NDArray[np.datetime64],
    channels: dict[str, NDArray[np.float32]],
    warned: NDArray[np.bool_],
    rows: tuple[int, int],
    specs: tuple[ChannelSpec, ...],
    shape: WindowShape,
) -> WindowSet:
    period = VEHICLES[name].period_s
    present = {n: (v.shape[1] if v.ndim == 2 else None) for n, v in channels.items()}
    reader = ChannelReader(specs, load_profile("battery").layout(present, period))
    reducer = Reducer(specs, shape.step_s, period, shape.hole_max)
    windows = Windows(shape.window, shape.stride, shape.holes_max)
    mono = (time - time[0]) / np.timedelta64(1, "us") * 1e-6
    found = [
        (window.values, window.mask, time[window.first], bool(warned[window.first : window.last + 1].any()))
        for seq, sample in _samples(channels, rows)
        for step in reducer.add(seq, float(mono[seq]), reader.read(sample, {}))
        if (window := windows.add(step)) is not None
    ]
    size = (0, shape.window, len(specs))
    return WindowSet(
        name,
        part,
        np.stack([f[0] for f in found]) if found else np.zeros(size, np.float32),
        np.stack([f[1] for f in found]) if found else np.zeros(size, np.float32),
        np.array([f[2] for f in found], dtype="datetime64[us]"),
        np.array([f[3] for f in found], dtype=bool),
    )


def _samples(
    channels: dict[str, NDArray[np.float32]], rows: tuple[int, int]
) -> Iterator[tuple[int, dict[str, Values]]]:
    """Rows as a sample's channels; NaN as None."""
    columns: dict[str, list[object]] = {}
    for name, values in channels.items():
        part = values[rows[0] : rows[1]].astype(np.float64).astype(object)
        part[part != part] = None  # NaN
        columns[name] = part.tolist()
    names = list(columns)
    for seq, row in enumerate(zip(*columns.values(), strict=True), start=rows[0]):
        yield seq, dict(zip(names, row, strict=True))
