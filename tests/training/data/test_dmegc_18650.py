"""A generated file of the set's format."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.dmegc_18650 import FILE, load
from training.data.errors import DataError


def write(folder: Path, times: list[float]) -> Path:
    table = {
        "cell": ["R1", "R1", "R1", "R2"],
        "test": ["rw_data"] * 4,
        "rep": [1, 1, 2, 1],
        "t_s": times,
        "current_A": [1.3, 2.6, 0.0, 2.6],
        "volt_V": [4.0, 3.9, 4.1, 4.1],
        "temp_C": [25.0, 26.0, 25.0, 24.5],
        "capacity_Ah": [0.0] * 4,
    }
    pq.write_table(pa.table(table), folder / FILE)
    return folder


def test_a_test_of_a_cell_is_a_run_that_discharges(tmp_path: Path) -> None:
    runs = list(load(write(tmp_path, [0, 10, 0, 0])))
    assert [(run.group, run.facts["rep"], len(run)) for run in runs] == [("R1", 1, 2), ("R1", 2, 1), ("R2", 1, 1)]
    assert runs[0].channels["current"].tolist() == pytest.approx([-1.3, -2.6])
    assert runs[0].channels["temperature_max"].tolist() == [25, 26]
    assert {(run.label, run.phase) for run in runs} == {(0, "discharge")}
    assert len(list(load(tmp_path / FILE))) == 3


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dmegc_18650\.parquet, row 1: time: goes back in a test of cell R1"):
        list(load(write(tmp_path, [10, 0, 0, 0])))
    with pytest.raises(DataError, match="readable"):
        list(load(tmp_path / "elsewhere"))
