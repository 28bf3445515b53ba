"""Generated files of the set's format: what is read, what is spread, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data import isc_ncm
from training.data.errors import DataError
from training.data.isc_ncm import load, spread

HEADER = "run,protocol,chem,family,charge_c,disch,cell,label,ohm,n_chg,n_dis,dur_chg,file"
RUNS = [
    "7,NCM523_1C_DST,NCM523,dst,1.0,DST,BD,0,10,4,3,3,a.csv",
    "807,NCM523_1C_DST,NCM523,dst,1.0,DST,CS,1,50,4,3,3,b.csv",
    "9,NCM811_1C_RDT,NCM811,random,1.0,RDT,CS,1,900,4,3,3,c.csv",
]


def rows(run: int) -> dict[str, list[int]]:
    return {
        "run": [run] * 7,
        "phase": [0, 0, 0, 0, 1, 1, 1],
        "t_s": [0, 1, 1, 3, 0, 10, 20],
        "volt_0p1mV": [33557, 33643, 33699, 41000, 41000, 40000, 39000],
        "current_mA": [2700, 2700, 2700, 0, -1350, -1350, 0],
        "capacity_mAh": [0] * 7,
    }


def write(folder: Path, change: dict[str, list[int]] | None = None, runs: list[str] = RUNS) -> Path:
    (folder / "runs.csv").write_text("\n".join([HEADER, *runs]) + "\n")
    dst = {name: [*a, *b] for (name, a), b in zip(rows(7).items(), rows(807).values(), strict=True)}
    for name, columns in (("ncm523_dst", dst | (change or {})), ("ncm811_random", rows(9))):
        table = pa.table({key: pa.array(values, pa.int32()) for key, values in columns.items()})
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_a_phase_is_a_run_in_our_units(tmp_path: Path) -> None:
    charge, discharge, faulty, _ = load(write(tmp_path))
    assert (charge.unit, charge.group, charge.phase, charge.label) == ("7", "NCM523_1C_DST", "charge", 0)
    assert (discharge.unit, discharge.phase) == ("7", "discharge")
    assert np.isnan(charge.size)
    assert charge.channels["voltage"].tolist() == pytest.approx([3.3557, 3.3643, 3.3699, 4.1])
    assert charge.channels["current"].tolist() == pytest.approx([2.7, 2.7, 2.7, 0])
    assert discharge.channels["current"][0] == pytest.approx(-1.35)
    assert (faulty.unit, faulty.label, faulty.fault, faulty.size) == (isc_ncm.NOT_CONNECTED, 1, "internal_short", 50)
    assert charge.facts["ohm"] == 10  # of the run it was measured beside
    assert (faulty.facts["cell"], faulty.facts["chemistry"]) == ("CS", "NCM523")


def test_rows_of_one_second_are_spread_and_none_is_dropped(tmp_path: Path) -> None:
    charge = next(load(write(tmp_path)))
    assert charge.time_s.tolist() == [0, 1, 1.5, 3]
    times = spread(np.array([5, 5, 5, 6, 8, 8, 20]))
    assert times.tolist() == pytest.approx([5, 5 + 1 / 3, 5 + 2 / 3, 6, 8, 8.5, 20])


def test_the_random_family_is_read_on_demand(tmp_path: Path) -> None:
    write(tmp_path)
    assert {run.facts["family"] for run in load(tmp_path)} == {"dst"}
    assert {run.group for run in load(tmp_path, ["random"])} == {"NCM811_1C_RDT"}
    with pytest.raises(DataError, match="family: drive; there are cccv, dst, random"):
        next(load(tmp_path, ["drive"]))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"run": [7] * 7 + [8] * 7}, r"ncm523_dst\.parquet, row 7: run: 8 is not in runs\.csv"),
        ({"phase": [0] * 4 + [1] * 3 + [0] * 3 + [1] * 4}, "row 7: rows: run 807 has 3, .* says 4"),
        ({"phase": [0] * 4 + [2] * 10}, "row 4: phase: 2"),
        ({"t_s": [0, 1, 2, 3, 0, 20, 10, *range(4), *range(3)]}, "row 6: time: goes back in run 7"),
        ({"run": [807] * 4 + [7] * 3 + [807] * 7}, "run 807 comes back"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Any], error: str) -> None:
    with pytest.raises(DataError, match=error):
        list(load(write(tmp_path, change)))


def test_files_and_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs\.csv: readable"):
        list(load(tmp_path))
    write(tmp_path)
    pq.write_table(
        pq.read_table(tmp_path / "ncm523_dst.parquet").drop_columns(["t_s"]), tmp_path / "ncm523_dst.parquet"
    )
    with pytest.raises(DataError, match="'t_s' is missing"):
        list(load(tmp_path))
    (tmp_path / "ncm523_dst.parquet").unlink()
    with pytest.raises(DataError, match=r"ncm523_dst\.parquet: readable"):
        list(load(tmp_path))


def test_a_run_without_its_discharge_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    table = pq.read_table(tmp_path / "ncm523_dst.parquet").slice(0, 11)
    pq.write_table(table, tmp_path / "ncm523_dst.parquet")
    with pytest.raises(DataError, match="run 807 has no discharge"):
        list(load(tmp_path))


def test_text_in_a_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs\.csv: type: ohm: .*ten"):
        list(load(write(tmp_path, runs=[RUNS[0].replace(",10,", ",ten,"), *RUNS[1:]])))
