"""Generated files of the set's format."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.errors import DataError
from training.data.nasa_pcoe import load

META = """type,start_time,ambient_temperature,battery_id,test_id,uid,filename,Capacity,Re,Rct
discharge,[2010.       7.      21.      15.       0.      35.093],4,B0047,0,1,00001.csv,1.6743047446975208,,
impedance,[2010.       7.      21.      16.      53.      45.968],24,B0047,1,2,00002.csv,,0.056,0.2
charge,[2.0100e+03 7.0000e+00 2.1000e+01 1.7000e+01 2.5000e+01 4.0671e+01],4,B0047,2,3,00003.csv,,,
discharge,[2010    7   21   20   31    5],4,B0048,3,5,00005.csv,[],,
"""


def write(folder: Path, meta: str = META, hot: int = 62) -> Path:
    (folder / "metadata.csv").write_text(meta)
    for name, uids in (("charge", [3]), ("discharge", [1, 5])):
        n = len(uids)
        columns = {
            "uid": np.repeat(uids, 3),
            "t_ds": [0, 94, 233] * n,
            "volt_mV": [4247, 8393, 4039] * n,
            "current_mA": [0, 1500 if name == "charge" else -995, 0] * n,
            "temp_0p1C": [60, -9999, hot] * n,
        }
        table = {key: pa.array(np.array(values), pa.int32()) for key, values in columns.items()}
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


def test_tests_are_runs_of_their_cell_in_our_units(tmp_path: Path) -> None:
    charge, first, second = load(write(tmp_path))
    assert [run.group for run in (charge, first, second)] == ["B0047", "B0047", "B0048"]
    assert [run.phase for run in (charge, first, second)] == ["charge", "discharge", "discharge"]
    assert charge.channels["current"].tolist() == [0, 1.5, 0]
    assert first.channels["current"][1] == pytest.approx(-0.995)
    assert (charge.label, first.facts["ambient_degc"]) == (0, 4.0)
    assert first.facts["capacity_ah"] == pytest.approx(1.6743, abs=1e-4)
    assert "capacity_ah" not in charge.facts
    assert "capacity_ah" not in second.facts


def test_start_times_are_read_in_all_three_spellings(tmp_path: Path) -> None:
    charge, first, second = load(write(tmp_path))
    assert charge.time_s[0] == pytest.approx(datetime(2010, 7, 21, 17, 25, 40, 671_000, tzinfo=UTC).timestamp())
    assert first.time_s[0] == pytest.approx(datetime(2010, 7, 21, 15, 0, 35, 93_000, tzinfo=UTC).timestamp())
    assert second.time_s[0] == datetime(2010, 7, 21, 20, 31, 5, tzinfo=UTC).timestamp()
    assert first.time_s[1] - first.time_s[0] == pytest.approx(9.4)


def test_what_no_cell_can_read_is_missing(tmp_path: Path) -> None:
    run = next(load(write(tmp_path)))
    assert np.isnan(run.channels["voltage"]).tolist() == [False, True, False]
    assert np.isnan(run.channels["temperature_max"]).tolist() == [False, True, False]
    assert run.channels["temperature_max"][2] == pytest.approx(6.2)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metadata\.csv: readable"):
        list(load(tmp_path))
    with pytest.raises(DataError, match=r"discharge\.parquet, row 3: test: uid 5"):
        list(load(write(tmp_path, META.replace(",3,5,", ",3,6,"))))
    with pytest.raises(DataError, match=r"metadata\.csv, row 3: start_time: .* is no time"):
        list(load(write(tmp_path, META.replace("[2010    7   21   20   31    5]", "[2010 13 21 20 31 5]"))))
