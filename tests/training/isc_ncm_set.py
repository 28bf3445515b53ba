"""A folder of isc_ncm's format with cells that are one equation, so that what is in it is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("run", "phase", "t_s", "volt_0p1mV", "current_mA", "capacity_mAh")
HEADER = "run,protocol,chem,family,charge_c,disch,cell,label,ohm,n_chg,n_dis"
CAPACITY = {"NCM811": 2.9, "NCM523": 2.4}


@dataclass(frozen=True)
class Setup:
    """protocols: name -> (chemistry, family, charge C, discharge C)."""

    protocols: dict[str, tuple[str, str, float, float]]
    ohms: tuple[int, ...] = (10, 50, 1000)
    noise_v: float = 0.001


SMALL = Setup(
    {f"{chem}_{c}C_{d}CD": (chem, "cccv", c, d) for chem in ("NCM811", "NCM523") for c, d in ((1.0, 1.2), (1.2, 1.0))}
)
"""Two windows of 21 minutes in each healthy charge and discharge."""


def write_set(folder: Path, setup: Setup = SMALL, seed: int = 0) -> Path:
    """BD and CS runs of each protocol at each ohm; only CS has the resistor."""
    draw = np.random.default_rng(seed)
    rows: dict[tuple[str, str], list[np.ndarray]] = {}
    lines = [HEADER]
    run = 0
    for name, (chem, family, charge_c, discharge_c) in setup.protocols.items():
        for cell in ("BD", "CS"):
            for ohm in setup.ohms:
                leak = 3.7 / ohm / CAPACITY[chem] if cell == "CS" else 0.0
                # the coulombs that the tester moves to the same true end points
                parts = [
                    _phase(run, 0, charge_c, leak, CAPACITY[chem], draw, setup.noise_v),
                    _phase(run, 1, -discharge_c, leak, CAPACITY[chem], draw, setup.noise_v),
                ]
                rows.setdefault((chem, family), []).extend(parts)
                label = int(cell == "CS")
                disch = f"{discharge_c}CD"
                facts = (run, name, chem, family, charge_c, disch, cell, label, ohm, len(parts[0]), len(parts[1]))
                lines.append(",".join(map(str, facts)))
                run += 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")
    for (chem, family), found in rows.items():
        table = np.concatenate(found)
        columns = {column: pa.array(table[:, i].astype(np.int32)) for i, column in enumerate(COLUMNS)}
        pq.write_table(pa.table(columns), folder / f"{chem.lower()}_{family}.parquet")
    return folder


def _phase(
    run: int, phase: int, c_rate: float, leak: float, capacity: float, draw: np.random.Generator, noise: float
) -> np.ndarray:
    """A charge or discharge at constant current between the same true states; leak: of the capacity an hour."""
    second = np.arange(int(0.97 * 3600 / abs(c_rate - leak)))
    soc = (1.0 if phase else 0.0) + (c_rate - leak) * second / 3600
    voltage = 3.2 + 0.9 * soc + 0.08 * c_rate + draw.normal(0, noise, len(second))
    ones = np.ones_like(second)
    columns = (run * ones, phase * ones, second, voltage * 1e4, c_rate * capacity * 1000 * ones, 0 * ones)
    return np.stack([np.round(column) for column in columns], axis=1)
