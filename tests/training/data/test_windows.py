"""Windows survive the disk, and a file that breaks a rule is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data import windows
from training.data.errors import DataError
from training.data.windows import Windows, join, parts, read


def some(n: int = 7, steps: int = 4, **changes: Any) -> Windows:
    draw = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "values": draw.normal(size=(n, steps, 2)).astype(np.float32),
        "columns": ("current", "voltage"),
        "step_s": 10.0,
        "source": np.full(n, "s"),
        "group": np.array([f"g{i % 3}" for i in range(n)]),
        "unit": np.array([f"u{i}" for i in range(n)]),
        "label": (np.arange(n) % 2).astype(np.int8),
        "fault": np.full(n, ""),
        "size": np.full(n, np.nan, np.float32),
        "start_s": np.arange(n) * 40.0,
    }
    return Windows(**{**fields, **changes})


def same(a: Windows, b: Windows) -> bool:
    fields = ("values", "source", "group", "unit", "label", "fault", "size", "start_s")
    return (a.columns, a.step_s) == (b.columns, b.step_s) and all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=getattr(a, name).dtype.kind == "f")
        and getattr(a, name).dtype.kind == getattr(b, name).dtype.kind
        for name in fields
    )


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    before = some()
    before.values[3, 1, 0] = np.nan
    before.write(tmp_path / "deep" / "w.parquet")
    assert same(read(tmp_path / "deep" / "w.parquet"), before)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["w.parquet"]


def test_a_file_without_windows_can_be_read(tmp_path: Path) -> None:
    some(0).write(tmp_path / "w.parquet")
    assert len(read(tmp_path / "w.parquet")) == 0


def test_a_file_can_be_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "ROW_GROUP", 3)
    some(8).write(tmp_path / "w.parquet")
    assert [len(part) for part in parts(tmp_path / "w.parquet", row_groups=2)] == [6, 2]
    assert same(join(list(parts(tmp_path / "w.parquet", row_groups=1))), some(8))


def rewrite(path: Path, change: Any) -> None:
    some().write(path)
    table = change(pq.read_table(path))
    pq.write_table(table, path)


def infinite(table: Any) -> Any:
    values = [list(row) for row in table["values"].to_pylist()]
    values[5][1] = float("inf")
    return table.set_column(0, table.field(0), pa.array(values, table.field(0).type))


def without_a_label(table: Any) -> Any:
    at = table.column_names.index("label")
    return table.set_column(at, table.field(at), pa.array([0, 1, None, 0, 1, 0, 1], pa.int8()))


def other_length(table: Any) -> Any:
    about = json.loads(table.schema.metadata[windows.KEY]) | {"steps": 5}
    return table.replace_schema_metadata({windows.KEY: json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (infinite, "row 5: finite: voltage"),
        (without_a_label, "row 2: null: label"),
        (other_length, "schema: values is"),
        (lambda table: table.drop_columns(["unit"]), "schema: unit is missing"),
        (lambda table: table.replace_schema_metadata({}), "format: no file of windows"),
    ],
)
def test_a_broken_file_is_named_with_window_and_rule(tmp_path: Path, change: Any, error: str) -> None:
    path = tmp_path / "w.parquet"
    rewrite(path, change)
    with pytest.raises(DataError, match=error) as refused:
        read(path)
    assert refused.value.where == str(path)


def test_rows_are_counted_over_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.parquet"
    rewrite(path, infinite)
    pq.write_table(pq.read_table(path), path, row_group_size=2)
    with pytest.raises(DataError, match="row 5: finite"):
        list(parts(path, row_groups=1))


def test_no_file_and_no_parquet_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.parquet: readable"):
        read(tmp_path / "no.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DataError, match=r"text\.parquet: readable"):
        read(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"values": np.zeros((7, 4, 3), np.float32)}, "shape"),
        ({"values": np.zeros((7, 4, 2))}, "shape: float64"),
        ({"columns": ("voltage", "voltage")}, "columns"),
        ({"step_s": 0.0}, "steps"),
        ({"unit": np.full(6, "u")}, "ragged: 6 of unit for 7 windows"),
        ({"label": np.full(7, 3, np.int8)}, "row 0: label: 3"),
        ({"group": np.array(["g"] * 6 + [""])}, "row 6: identity: no group"),
        ({"start_s": np.full(7, np.nan)}, "row 0: start"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(DataError, match=error):
        some(**changes)


def test_a_bundle_gets_its_columns_and_its_last_steps() -> None:
    given = some(steps=6).require(["voltage"], 4, 10.0)
    assert given.columns == ("voltage",)
    assert np.array_equal(given.values[:, :, 0], some(steps=6).values[:, 2:, 1])
    assert given.start_s[1] == 60.0


def test_windows_that_do_not_fit_a_bundle_are_named() -> None:
    with pytest.raises(DataError, match=r"f\.parquet: window: 4 steps, the manifest asks for 128"):
        some().require(["voltage"], 128, 10.0, "f.parquet")
    with pytest.raises(DataError, match="soc is missing; there are current, voltage"):
        some().require(["soc"], 4, 10.0)
    with pytest.raises(DataError, match="step: 10 s, the manifest asks for 30 s"):
        some().require(["voltage"], 4, 30.0)
    hollow = some()
    hollow.values[4, :, 1] = np.nan
    with pytest.raises(DataError, match="row 4: NaN column: voltage"):
        hollow.require(["voltage"], 4, 10.0)


def test_missing_values_are_held_and_masked() -> None:
    given = some(1)
    given.values[0, :, 0] = [np.nan, 1, np.nan, 3]
    given.values[0, :, 1] = np.nan
    assert given.filled()[0].T.tolist() == [[1, 1, 1, 3], [0, 0, 0, 0]]
    assert given.mask[0].T.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]


def test_sides_of_a_fold_hold_their_groups() -> None:
    assert set(some().of_groups(["g0", "g2"]).group) == {"g0", "g2"}
    with pytest.raises(DataError, match="join: steps 5 and 4"):
        join([some(), some(steps=5)])
