"""A recording that cannot be is refused, by channel, row and rule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.data.errors import DataError
from training.data.runs import Run, check_plausible


def run(**changes: Any) -> Run:
    time = np.arange(5.0)
    channels = {
        "voltage": np.full(5, 3.7, np.float32),
        "current": np.array([1, np.nan, 1, 1, 1], np.float32),
        "cell_voltages": np.full((5, 3), 3.7, np.float32),
    }
    return Run(
        **{"source": "s", "group": "g", "unit": "u", "label": 0, "time_s": time, "channels": channels, **changes}
    )


def with_channel(name: str, values: Any) -> dict[str, Any]:
    return {"channels": {**run().channels, name: values}}


def test_a_run_has_rows_and_a_duration() -> None:
    assert len(run()) == 5
    assert run().duration_s == 4.0
    assert replace(run(), label=1, fault="internal_short", size=10.0).size == 10.0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"label": 2}, "s u: label: 2"),
        ({"group": ""}, "identity"),
        ({"time_s": np.zeros(0)}, "rows"),
        ({"time_s": np.array([0, 1, np.nan, 3, 4])}, "row 2: time: no number"),
        ({"time_s": np.array([0.0, 1, 2, 1, 4])}, "row 3: time: goes back"),
        ({"channels": {}}, "channels: there is none"),
        (with_channel("volts", np.zeros(5, np.float32)), "volts is not in profile battery"),
        (with_channel("voltage", np.zeros(4, np.float32)), r"shape: voltage is \(4,\), time has 5"),
        (with_channel("voltage", np.zeros((5, 1), np.float32)), r"shape: voltage is \(5, 1\)"),
        (with_channel("cell_voltages", np.zeros(5, np.float32)), "shape: cell_voltages"),
        (with_channel("voltage", np.zeros(5)), "type: voltage is float64"),
        (with_channel("voltage", np.array([1, 2, 3, np.inf, 5], np.float32)), "row 3: finite: voltage"),
        (with_channel("soc", np.full(5, np.nan, np.float32)), "NaN column: soc has no reading"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(DataError, match=error):
        run(**changes)


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("voltage", np.full(9, 0.355), "f.csv, row 0: unit: voltage is 0.355 V .*kilovolts"),
        ("voltage", np.full(9, 355_000), "unit: voltage: 100% of the readings outside of 0..1500 V"),
        ("cell_voltages", np.full((9, 2), 3700), "unit: cell_voltages: 100%"),
        ("current", np.array([1.0] * 4 + [46_100] * 5), "row 4: unit: current: 56%"),
        ("soc", np.full(9, 61), "unit: soc"),
        ("temperature_max", np.full(9, 298), "kelvin"),
    ],
)
def test_other_units_are_refused(name: str, values: Any, error: str) -> None:
    with pytest.raises(DataError, match=error):
        check_plausible("f.csv", {name: values.astype(np.float32)})


def test_stray_values_and_missing_ones_are_not_another_unit() -> None:
    cells = np.full(1000, 3.7, np.float32)
    cells[7], cells[8] = 66.0, np.nan
    burning = np.concatenate([np.full(900, 30), np.full(100, 700)]).astype(np.float32)
    check_plausible("f.csv", {"cell_voltage_max": cells, "temperature_max": burning})
