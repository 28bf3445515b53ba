"""SPMe trajectories in a file, and how far the pack model is from them."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.sensor.simulated.cell import Cell
from training.data.errors import DataError
from training.simulation.isothermal import simulate
from training.simulation.profiles import Profile

Doubles = NDArray[np.float64]

WINDOW: Final = 128  # steps
STRIDE: Final = 32
QUARTER: Final = WINDOW // 4
SCHEMA: Final = pa.schema(
    [
        ("profile", pa.string()),
        ("temperature", pa.float32()),
        ("soc", pa.float64()),
        ("current", pa.float32()),
        ("voltage", pa.float32()),
    ]
)


class Trajectory(NamedTuple):
    """What SPMe answers to a profile: voltage (n,) at the end of each step [V]; it may end before the profile."""

    temperature: float
    profile: Profile
    voltage: Doubles

    @property
    def reached(self) -> Profile:
        """The profile as far as it got."""
        return self.profile._replace(current=self.profile.current[: len(self.voltage)])


def write_trajectories(path: Path, trajectories: Sequence[Trajectory]) -> None:
    parts = [
        pa.table(
            {
                "profile": [t.profile.name] * len(t.voltage),
                "temperature": np.full(len(t.voltage), t.temperature, np.float32),
                "soc": np.full(len(t.voltage), t.profile.soc),
                "current": t.reached.current.astype(np.float32),
                "voltage": t.voltage.round(5).astype(np.float32),
            },
            SCHEMA,
        )
        for t in trajectories
    ]
    pq.write_table(
        pa.concat_tables(parts),
        path,
        compression="zstd",
        compression_level=19,
        use_byte_stream_split=["voltage"],
        use_dictionary=["profile", "temperature", "soc", "current"],
    )


def read_trajectories(path: Path) -> list[Trajectory]:
    """Raises DataError when the file is no such file."""
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, "readable", " ".join(str(error).split())[:200]) from None
    names, columns = table["profile"].to_pylist(), {n: table[n].to_numpy() for n in SCHEMA.names[1:]}
    keys = [f"{name} {temperature}" for name, temperature in zip(names, columns["temperature"].tolist(), strict=True)]
    edges = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1]), len(keys)]
    made = []
    for first, end in pairwise(edges):
        current = columns["current"][first:end].astype(np.float64)
        profile = Profile(names[first], float(columns["soc"][first]), current)
        made.append(
            Trajectory(float(columns["temperature"][first]), profile, columns["voltage"][first:end].astype(np.float64))
        )
    return made


class Deviation(NamedTuple):
    """The pack model less SPMe. rmse_v over the trajectory; a row a window of 128 steps: its RMSE and drift, the mean
    error of its last quarter less that of its first [V].
    """

    trajectory: Trajectory
    error: Doubles
    windows: Doubles

    @property
    def rmse_v(self) -> float:
        return float(np.sqrt(np.mean(self.error**2)))


def compare(cell: Cell, trajectories: Sequence[Trajectory]) -> list[Deviation]:
    made = []
    for temperature in sorted({t.temperature for t in trajectories}):
        chosen = [t for t in trajectories if t.temperature == temperature]
        voltage = simulate(cell, temperature, [t.reached for t in chosen])[0]
        for row, trajectory in zip(voltage, chosen, strict=True):
            error = row[: len(trajectory.voltage)] - trajectory.voltage
            made.append(Deviation(trajectory, error, _windows(error)))
    return made


def _windows(error: Doubles) -> Doubles:
    if len(error) < WINDOW:
        return np.zeros((0, 2))
    cut = np.lib.stride_tricks.sliding_window_view(error, WINDOW)[::STRIDE]
    drift = cut[:, -QUARTER:].mean(axis=1) - cut[:, :QUARTER].mean(axis=1)
    return np.stack([np.sqrt(np.mean(cut**2, axis=1)), np.abs(drift)], axis=1)


def figures(deviations: Sequence[Deviation]) -> dict[str, Any]:
    """By temperature, and over all: RMSE; of windows the 95th percentile and the largest RMSE and drift. mV."""
    found: dict[str, Any] = {}
    temperatures = sorted({d.trajectory.temperature for d in deviations})
    for name, chosen in [
        *((f"{t:g}", [d for d in deviations if d.trajectory.temperature == t]) for t in temperatures),
        ("all", list(deviations)),
    ]:
        errors = np.concatenate([d.error for d in chosen])
        windows = np.concatenate([d.windows for d in chosen])
        found[name] = {
            "steps": len(errors),
            "windows": len(windows),
            "rmse": _mv(np.sqrt(np.mean(errors**2))),
            "largest": _mv(np.abs(errors).max()),
            "window_rmse_p95": _mv(np.quantile(windows[:, 0], 0.95)),
            "drift_rms": _mv(np.sqrt(np.mean(windows[:, 1] ** 2))),
            "drift_p95": _mv(np.quantile(windows[:, 1], 0.95)),
            "drift_largest": _mv(windows[:, 1].max()),
            "drift_within_1_mv": round(float((windows[:, 1] <= 1e-3).mean()), 4),
            "profiles": {d.trajectory.profile.name: _mv(d.rmse_v) for d in chosen} if name != "all" else {},
        }
    return found


def _mv(volts: Any) -> float:
    return round(1e3 * float(volts), 2)


def write_figures(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
