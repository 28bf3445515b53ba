"""Snippets of charging like EVBattery's, from a pack that is one equation."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("volt", "current", "soc", "max_single_volt", "min_single_volt", "max_temp", "min_temp", "timestamp")
CELLS = 90


def charging(draw: np.random.Generator, faulty: bool, rows: int = 128) -> NDArray[np.float64]:
    """One snippet in the file's units and signs; a faulty pack has a cell that lags behind the current."""
    step = np.arange(rows)
    current = draw.uniform(20, 60) * np.ones(rows) + draw.normal(0, 0.2, rows)
    soc = draw.uniform(20, 60) + np.cumsum(current) * 10 / 3600 / 150 * 100
    cell = 3.5 + 0.006 * soc + 0.0008 * current + draw.normal(0, 0.0005, rows)
    lag = 0.03 * np.sin(step / 9) if faulty else 0.0
    temperature = draw.uniform(15, 30) + 2e-4 * np.cumsum(current) / 10
    columns = [CELLS * cell, -current, soc, cell + 0.01, cell - 0.012 - lag, temperature + 1, temperature, 10.0 * step]
    return np.stack(columns, axis=1)


def write_brand(folder: Path, healthy: int = 6, faulty: int = 2, each: int = 12, seed: int = 5) -> Path:
    """`each` snippets of so many vehicles."""
    draw = np.random.default_rng(seed)
    (folder / "data").mkdir(parents=True)
    (folder / "column.pkl").write_bytes(pickle.dumps(list(COLUMNS)))
    number = 0
    for car in range(healthy + faulty):
        broken = car >= healthy
        for segment in range(each):
            about: dict[str, Any] = {"label": "10" if broken else "00", "car": car, "charge_segment": str(segment)}
            content = (charging(draw, broken), about | {"mileage": 1000.0 * car + 50 * segment})
            (folder / "data" / f"{number}.pkl").write_bytes(pickle.dumps(content))
            number += 1
    return folder
