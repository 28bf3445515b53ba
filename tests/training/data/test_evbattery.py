"""Snippets in every form they come in; what a pickle must not do; what is refused."""

import os
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.errors import DataError
from training.data.evbattery import COLUMNS, load
from training.data.pickles import read_pickle

pytestmark = pytest.mark.training


def array(rows: int = 128) -> Any:
    step = np.arange(rows, dtype=np.float64)
    columns = [
        *(350 + step / 100, np.full(rows, -40.0), 40 + step / 50, 3.75 + step / 5000, 3.70 + step / 5000),
        *(np.full(rows, 28.0), np.full(rows, 25.0), 6274 + 10 * step),
    ]
    return np.stack(columns, axis=1)


def snippet(rows: int = 128, **about: Any) -> tuple[Any, dict[str, Any]]:
    meta = {"label": "00", "car": 129, "charge_segment": "17", "mileage": 2445.3}
    return array(rows), OrderedDict(meta | about)


def brand(folder: Path, snippets: list[Any], columns: Any = COLUMNS, protocol: int = 2) -> Path:
    (folder / "train").mkdir(parents=True)
    (folder / "column.pkl").write_bytes(pickle.dumps(list(columns) if columns is COLUMNS else columns, protocol))
    for number, content in enumerate(snippets):
        (folder / "train" / f"{number}.pkl").write_bytes(pickle.dumps(content, protocol))
    return folder


def test_a_snippet_is_a_run_in_our_units_and_signs(tmp_path: Path) -> None:
    healthy, faulty = load(brand(tmp_path / "battery_brand1", [snippet(), snippet(label="10", car=91)]))
    assert (healthy.group, healthy.unit, healthy.label) == ("battery_brand1/129", "battery_brand1/129", 0)
    assert (faulty.group, faulty.label, faulty.phase) == ("battery_brand1/91", 1, "charge")
    assert healthy.channels["current"].tolist() == [40.0] * 128
    assert healthy.channels["soc"][50] == pytest.approx(0.41)
    assert healthy.channels["cell_voltage_max"][0] == pytest.approx(3.75)
    assert healthy.channels["temperature_min"][0] == 25
    assert healthy.time_s[1] - healthy.time_s[0] == 10
    assert healthy.facts["mileage"] == 2445.3
    assert healthy.facts["charge_segment"] == "17"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_any_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    (run,) = load(brand(tmp_path / "b", [snippet(mileage=np.float64(7))], protocol=protocol))
    assert len(run) == 128
    assert run.facts["mileage"] == 7


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saved_is_read(tmp_path: Path, zipped: bool) -> None:
    folder = brand(tmp_path / "b", [])
    torch.save(snippet(), folder / "train" / "0.pkl", _use_new_zipfile_serialization=zipped)
    torch.save(list(COLUMNS), folder / "column.pkl", _use_new_zipfile_serialization=zipped)
    assert [len(run) for run in load(folder)] == [128]


def test_columns_come_in_the_order_of_their_brand(tmp_path: Path) -> None:
    order = ["soc", "timestamp", *[name for name in COLUMNS if name not in ("soc", "timestamp")]]
    values, about = snippet()
    values = values[:, [COLUMNS.index(name) for name in order]]
    (run,) = load(brand(tmp_path / "b", [(values, about)], order))
    assert run.channels["soc"][0] == pytest.approx(0.4)
    assert run.channels["voltage"][0] == 350


def test_brands_of_256_rows_and_snippets_that_name_no_car(tmp_path: Path) -> None:
    contents = [(array(256), {"label": label, "mileage": 1.0}) for label in ("00", "10")]
    runs = list(load(brand(tmp_path / "energy", contents)))
    assert [len(run) for run in runs] == [256, 256]
    assert {run.group for run in runs} == {"energy/unknown car"}  # one group: no split can part a vehicle
    assert len({run.unit for run in runs}) == 2


def test_several_brands_are_read_at_once(tmp_path: Path) -> None:
    brand(tmp_path / "battery_brand1", [snippet()])
    brand(tmp_path / "battery_brand3", [snippet(256)])
    assert [(run.group, len(run)) for run in load(tmp_path)] == [
        ("battery_brand1/129", 128),
        ("battery_brand3/129", 256),
    ]


def test_plain_arrays_are_read(tmp_path: Path) -> None:
    data = np.stack([array(256), array(256)])
    label, mileage = np.array(["00", ""]), np.array([5.0, 6.0])
    np.savez(tmp_path / "samples.npz", data=data, columns=np.array(COLUMNS), label=label, mileage=mileage)
    runs = list(load(tmp_path))
    assert [run.label for run in runs] == [0, -1]
    assert [run.facts["mileage"] for run in runs] == [5.0, 6.0]
    np.savez(tmp_path / "samples.npz", data=data, columns=np.array(COLUMNS), label=np.array(["00"]))
    with pytest.raises(DataError, match=r"samples\.npz: ragged"):
        list(load(tmp_path))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/emberwatch-must-not-exist",)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ((array(), {"label": "00", "x": Evil()}), r"0\.pkl: pickle: names (posix|nt)\.system"),
        ((array(), {"label": "00", "x": Path("/")}), r"names pathlib\S*\.\w+"),
        ((array(), {"label": "00", "x": eval}), r"names (__builtin__|builtins)\.eval"),
        (torch.zeros(128, 8), "names torch"),
        ([1, 2, 3], "snippet: expected a tuple"),
        ((array(), ["00"]), "snippet: expected a tuple"),
    ],
)
def test_a_pickle_that_holds_more_than_arrays_is_refused_and_not_run(tmp_path: Path, content: Any, error: str) -> None:
    with pytest.raises(DataError, match=error):
        list(load(brand(tmp_path / "b", [content])))
    assert not Path("/tmp/emberwatch-must-not-exist").exists()


def test_a_tensor_of_torch_is_refused(tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save((torch.zeros(128, 8), {}), tmp_path / "0.pkl", _use_new_zipfile_serialization=zipped)
        with pytest.raises(DataError, match=r"names torch|holds a torch tensor"):
            list(load(tmp_path / "0.pkl"))


def changed(row: Any, column: str, value: float) -> Any:
    values = array()
    values[row, COLUMNS.index(column)] = value
    return values


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (snippet(127), r"0\.pkl, 0: ragged: 127 rows"),
        ((array()[:, :7], {"label": "00"}), r"ragged: shape \(128, 7\), expected rows of 8 columns"),
        ((array().ravel(), {"label": "00"}), r"ragged: shape \(1024,\)"),
        (
            (np.array([[1.0], [1.0, 2.0]] * 64, dtype=object), {"label": "00"}),
            "pickle: an array of O8, expected numbers",
        ),
        ((array().tolist(), {"label": "00"}), "ragged: a list"),
        (snippet(label="20"), "label: '20'"),
        ((changed(slice(None), "max_temp", np.nan), {"label": "00"}), "NaN column: max_temp"),
        ((changed(4, "volt", np.inf), {"label": "00"}), "0 row 4: finite: voltage"),
        ((changed(9, "timestamp", 0.0), {"label": "00"}), "0 row 9: time: goes back"),
        ((changed(slice(None), "current", 40.0), {"label": "00"}), "sign: charging current is positive"),
    ],
)
def test_snippets_that_break_a_rule_are_named(tmp_path: Path, content: Any, error: str) -> None:
    folder = brand(tmp_path / "b", [content])
    with pytest.raises(DataError, match=error) as refused:
        list(load(folder))
    assert refused.value.where == str(folder / "train" / "0.pkl")


def test_snippets_of_different_length_are_named_or_passed_over(tmp_path: Path) -> None:
    folder = brand(tmp_path / "b", [snippet(), snippet(256), snippet()])
    with pytest.raises(DataError, match=r"1\.pkl, 1: ragged: 256 rows, expected 128 as in the first"):
        list(load(folder))
    told: list[DataError] = []
    assert len(list(load(folder, told.append))) == 2
    assert [error.rule for error in told] == ["ragged"]


def test_folders_without_snippets_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.pkl and no \.npz"):
        list(load(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        list(load(tmp_path / "no"))


def test_columns_that_are_no_list_of_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column\.pkl: columns"):
        list(load(brand(tmp_path / "b", [snippet()], {"volt": 1})))
    with pytest.raises(DataError, match="columns: current is missing"):
        list(load(brand(tmp_path / "c", [snippet()], [name.replace("current", "amps") for name in COLUMNS])))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_pickle_is_read_or_named(tmp_path: Path, data: st.DataObject) -> None:
    whole = pickle.dumps((np.zeros((2, 2)), {"label": "00", "car": 1}), data.draw(st.sampled_from([0, 2, 4, 5])))
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=6)):
        if at < len(content):
            content[at] = value
    path = tmp_path / "x.pkl"
    path.write_bytes(bytes(content))
    with suppress(DataError):  # no other, and no crash
        read_pickle(path)
