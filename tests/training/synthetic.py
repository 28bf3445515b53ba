"""Recordings like those of ev-fault, from a pack that is one equation."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

CELLS = 4


def write_vehicle(path: Path, begin: str, rows: int, period_s: int, seed: int, spread_v: float = 0.03) -> None:
    """A pack of 4 cells of 60 mOhm and 50 Ah that drives in steps of current; discharge positive, as in the files."""
    draw = np.random.default_rng(seed)
    current = np.repeat(draw.uniform(-20, 60, rows // 20 + 1), 20)[:rows]
    charge = np.cumsum(current) * period_s / 3600 / 50
    open_circuit = 3.9 - 0.3 * (charge - charge.min())
    mean = open_circuit - 0.002 * current + draw.normal(0, 0.001, rows)
    offsets = np.linspace(-spread_v / 2, spread_v / 2, CELLS)
    temperature = 25 + np.cumsum(current**2) * period_s * 1e-7
    time = np.datetime64(begin, "us") + np.arange(rows) * np.timedelta64(period_s, "s")
    columns: dict[str, object] = {
        "tboxTime": time,
        "BMSBatteryVoltage": CELLS * mean,
        "BMSCellVoltageMax": mean + offsets[-1],
        "BMSCellVoltageMin": mean + offsets[0],
        "BMSBatteryCurrent": current,
        "BMSProbeTempMax": temperature + 1,
        "BMSProbeTempMin": temperature,
        "BMSWarningInformation": np.zeros(rows),
    }
    columns |= {f"V_{i + 1}": mean + offset for i, offset in enumerate(offsets)}
    parquet.write_table(pa.table(columns), path)


def write_vehicles(folder: Path) -> Path:
    """car1 at 1 s, car2 at 30 s with a part after June 2019 and a wide spread there, car3 at 10 s."""
    write_vehicle(folder / "car1.parquet", "2021-05-05", 12_000, 1, seed=1)
    write_vehicle(folder / "early.parquet", "2019-05-30", 1_000, 30, seed=2)
    write_vehicle(folder / "late.parquet", "2019-07-01", 400, 30, seed=3, spread_v=0.15)
    tables = [parquet.read_table(folder / f"{part}.parquet") for part in ("early", "late")]
    parquet.write_table(pa.concat_tables(tables), folder / "car2.parquet")
    write_vehicle(folder / "car3.parquet", "2019-04-15", 1_500, 10, seed=4)
    return folder
