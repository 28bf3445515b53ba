"""Generated vehicles, and a real one: labels by date and warning, what the sensor derives."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.bus.errors import SourceError
from tests.training.synthetic import write_vehicle, write_vehicles
from training.data.errors import DataError
from training.data.ev_fault import load

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"


def test_labels_are_by_date(tmp_path: Path) -> None:
    write_vehicles(tmp_path)
    (tmp_path / "early.parquet").unlink()
    (tmp_path / "late.parquet").unlink()
    runs = {(run.unit, run.label): run for run in load(tmp_path)}
    assert set(runs) == {("car1", 0), ("car2", 0), ("car2", 1), ("car3", 0)}
    faulty = runs["car2", 1]
    assert (faulty.fault, faulty.size, faulty.group) == ("cell_drift", 0.05, "car2")
    assert faulty.time_s[0] == datetime(2019, 7, 1, tzinfo=UTC).timestamp()
    assert runs["car2", 0].time_s[-1] < datetime(2019, 6, 1, tzinfo=UTC).timestamp()


def test_a_vehicle_that_nobody_named_has_no_label(tmp_path: Path) -> None:
    write_vehicle(tmp_path / "car9.parquet", "2019-05-01", 50, 10, seed=1)
    (run,) = load(tmp_path)
    assert (run.unit, run.label, run.fault) == ("car9", -1, "")


def test_a_real_vehicle_is_in_our_units_and_signs() -> None:
    (run,) = load(RECORDINGS / "car2.parquet")
    raw = pq.read_table(RECORDINGS / "car2.parquet")
    assert run.label == 1
    assert run.channels["cell_voltages"].shape == (3784, 88)
    assert 14 < np.nanmin(run.channels["temperatures"]) < np.nanmax(run.channels["temperatures"]) < 50  # raw: + 40
    assert run.channels["current"] == pytest.approx(-raw["BMSBatteryCurrent"].to_numpy(), abs=1e-3)
    soc, current = run.channels["soc"], run.channels["current"]
    assert 0 <= soc.min() < soc.max() <= 1
    close = np.diff(run.time_s) < 40
    raises = np.corrcoef(np.diff(run.channels["voltage"])[close], np.diff(current)[close])[0, 1]
    assert raises > 0.5  # charging is positive: it raises the voltage
    cells = run.channels["cell_voltages"]
    assert run.channels["cell_voltage_max"] == pytest.approx(np.nanmax(cells, axis=1))
    assert run.channels["cell_spread"] == pytest.approx(np.nanmax(cells, 1) - np.nanmin(cells, 1), abs=2e-4)


def rewrite(path: Path, **columns: Any) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values))
    pq.write_table(table, path)


def test_rows_with_a_warning_are_doubtful_and_cells_that_cannot_be_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "car3.parquet"
    write_vehicle(path, "2019-05-01", 50, 10, seed=1)
    cell = np.full(50, 3.8)
    cell[7], cell[8] = 66.0, 0.0
    rewrite(path, BMSWarningInformation=[0.0] * 20 + [3.0] + [0.0] * 29, V_1=cell)
    (run,) = load(path)
    assert run.doubtful is not None
    assert np.nonzero(run.doubtful)[0].tolist() == [20]
    assert np.isnan(run.channels["cell_voltages"][:, 0]).nonzero()[0].tolist() == [7, 8]
    assert run.channels["cell_voltage_max"].max() < 4.5


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vehicles: no \.parquet"):
        list(load(tmp_path))
    (tmp_path / "car1.parquet").write_text("text")
    with pytest.raises(SourceError, match=r"car1\.parquet"):
        list(load(tmp_path))


def test_a_pack_in_kilovolts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "car1.parquet"
    write_vehicle(path, "2019-05-01", 50, 10, seed=1)
    rewrite(path, BMSBatteryVoltage=pq.read_table(path)["BMSBatteryVoltage"].to_numpy() / 1000)
    with pytest.raises(DataError, match=r"car1\.parquet, row 0: unit: voltage is 0\.0\d+ V .*kilovolts"):
        list(load(path))
