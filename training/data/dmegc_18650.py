"""Discharges of four new DMEGC INR 18650 cells of 2.6 Ah with surface temperature (Wang et al., IEEE TII 2025; MIT)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from training.data.errors import DataError
from training.data.runs import HEALTHY, Run
from training.data.tables import read_columns, segments

SOURCE: Final = "dmegc_18650"
FILE: Final = "dmegc_18650.parquet"
COLUMNS: Final = {
    **dict.fromkeys(("cell", "test"), "text"),
    **dict.fromkeys(("rep", "t_s", "current_A", "volt_V", "temp_C"), "float"),
}


def load(path: Path) -> Iterator[Run]:
    """Read the set: one Run a test and repetition; all healthy, `group` and `unit` the cell (R1 to R4).

    In `facts`: test (rw_data: random steps of 120 s; ref_data 1 C; Rt_c_2_data, Rt_cx2_data C/2 and 2 C; pulse_data;
    ocv_data C/20) and rep.

    Args:
        path: folder with dmegc_18650.parquet, or that file.
    Raises:
        DataError: the file or a column is missing; time goes back.
    """
    file = path if path.suffix == ".parquet" else path / FILE
    columns = read_columns(file, COLUMNS)
    for first, end in segments(columns["cell"], columns["test"], columns["rep"]):
        cell = str(columns["cell"][first])
        time = columns["t_s"][first:end]
        back = np.nonzero(np.diff(time) < 0)[0]
        if len(back):
            raise DataError(file, "time", f"goes back in a test of cell {cell}", first + int(back[0]) + 1)
        yield Run(
            source=SOURCE,
            group=cell,
            unit=cell,
            label=HEALTHY,
            phase="discharge",
            time_s=time,
            channels={
                "voltage": columns["volt_V"][first:end].astype(np.float32),
                "current": -columns["current_A"][first:end].astype(np.float32),  # the file counts discharge positive
                "temperature_max": columns["temp_C"][first:end].astype(np.float32),
            },
            facts={"test": str(columns["test"][first]), "rep": float(columns["rep"][first])},
        )
