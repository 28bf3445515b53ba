"""Quality of readings: nothing dropped, nothing invented, whatever the chunks."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bus.messages import Sample
from services.bus.profiles import load_profile
from services.sensor.readings import Judge, Readings, derive, rows_of

BATTERY = load_profile("battery")
SCALARS = ("cell_voltage_max", "cell_voltage_min", "temperature_max")
VECTORS = ("cell_voltages", "temperatures")

sane = st.floats(25, 45)
odd = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 66.5, 110.0, -300.0, 5000.0, 1e308, -1e308])
cells = st.lists(sane | odd, min_size=4, max_size=4)


def judge(name: str, missing: tuple[float, ...] = (), scale: float = 1.0, offset: float = 0.0) -> Judge:
    return Judge(BATTERY.by_name[name], missing, scale, offset)


def quality_of(name: str, raw: list[float], step_s: float = 1.0, **how: Any) -> list[tuple[Any, str | None]]:
    """(value, quality) of each row of a scalar channel."""
    readings = judge(name, **how)(np.array(raw), np.arange(float(len(raw))) * np.float64(step_s))
    return [(channels[name], quality.get(name)) for channels, quality in rows_of({name: readings})]


def recording(rows: list[list[float]], times: list[float], cuts: list[int]) -> list[tuple[dict[str, Any], Any]]:
    """Rows of 4 numbers as scalars and vectors of a battery, judged in chunks that begin at `cuts`."""
    raw, mono = np.array(rows), np.maximum.accumulate(np.array(times))
    judges = {name: judge(name, (0.0,)) for name in (*SCALARS, *VECTORS)}
    found, doubtful = [], dict[str, int]()
    for first, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        if first == end:
            continue
        chunk = {name: judges[name](raw[first:end, i], mono[first:end]) for i, name in enumerate(SCALARS)}
        chunk |= {name: judges[name](raw[first:end, i : i + 3], mono[first:end]) for i, name in enumerate(VECTORS)}
        derive(chunk, BATTERY, doubtful)
        found += rows_of(chunk)
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_quality_does_not_depend_on_where_chunks_begin(data: st.DataObject) -> None:
    rows = data.draw(st.lists(cells, min_size=1, max_size=25))
    steps = data.draw(st.lists(st.floats(-5, 200), min_size=len(rows), max_size=len(rows)))
    times = np.cumsum(steps).tolist()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=6)))
    assert repr(recording(rows, times, cuts)) == repr(recording(rows, times, []))


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=25))
def test_every_row_is_there_and_reads_as_a_sample(rows: list[list[float]]) -> None:
    found = recording(rows, [float(i) for i in range(len(rows))], [])
    assert len(found) == len(rows)
    for channels, quality in found:
        envelope = {"boot": "0" * 16, "seq": 0, "ts": "2026-11-21T08:15:02.250Z", "mono": 0.0, "layout": "0" * 8}
        Sample.model_validate(envelope | {"channels": channels, "quality": quality})  # refuses NaN and Infinity


@settings(max_examples=60, deadline=None)
@given(st.lists(sane | odd, min_size=1, max_size=40))
def test_a_value_is_null_exactly_when_it_is_a_fault_and_else_what_was_read(raw: list[float]) -> None:
    low, high = BATTERY.by_name["temperature_max"].low, BATTERY.by_name["temperature_max"].high
    for (value, quality), read in zip(quality_of("temperature_max", raw, missing=(0.0,)), raw, strict=True):
        if read == 0:
            assert (value, quality) == (None, "fault:missing")
        elif not math.isfinite(read) or abs(read) > 1e300:
            assert (value, quality) == (None, "fault:nan")
        else:
            assert value == pytest.approx(read, abs=1e-4)
            assert (quality == "range") == (not low <= value <= high)
            assert quality in (None, "suspect", "range")


def test_a_jump_is_suspect_until_the_next_reading_confirms_it() -> None:
    marks = [quality for _, quality in quality_of("temperature_max", [30, 110, 110, 111, 30, 30, 31])]
    assert marks == [None, "suspect", None, None, "suspect", None, None]


def test_a_single_spike_is_suspect_and_what_follows_is_good() -> None:
    found = quality_of("temperature_max", [30, 110, 30, 30])
    assert found == [(30, None), (110, "suspect"), (30, None), (30, None)]


def test_a_jump_that_keeps_jumping_stays_suspect_and_keeps_its_values() -> None:
    found = quality_of("temperature_max", [30, 110, 200, 290, 31])
    assert found == [(30, None), (110, "suspect"), (200, "suspect"), (290, "suspect"), (31, None)]


def test_a_jump_before_a_dead_probe_is_suspect_and_the_dead_probe_a_fault() -> None:
    found = quality_of("temperature_max", [30, 110, math.nan, math.nan])
    assert found == [(30, None), (110, "suspect"), (None, "fault:nan"), (None, "fault:nan")]


def test_the_same_rise_over_a_long_time_is_a_trend() -> None:
    assert [quality for _, quality in quality_of("temperature_max", [30, 110, 30], step_s=30)] == [None, None, None]


def test_out_of_range_is_kept_and_marked_and_is_no_reference_for_jumps() -> None:
    found = quality_of("temperature_max", [30, 2000, 30, -60, 31])
    assert found == [(30, None), (2000, "range"), (30, None), (-60, "range"), (31, None)]


def test_raw_values_are_scaled_and_what_the_source_calls_missing_is_null() -> None:
    assert quality_of("temperature_max", [255, 67, 0], missing=(0, 255), offset=-40) == [
        (None, "fault:missing"),
        (27, None),
        (None, "fault:missing"),
    ]


def test_float32_noise_is_rounded_away() -> None:
    noisy = np.array([355.2], np.float32).astype(np.float64)
    assert judge("voltage")(noisy, np.zeros(1)).values.tolist() == [355.2]


def test_a_garbage_frame_of_all_cells_is_range_and_the_bms_own_scalars_remain() -> None:
    raw = {
        "cell_voltage_max": np.array([3.8, 3.81]),
        "cell_voltage_min": np.array([3.7, 3.71]),
        "cell_voltages": np.array([[3.72, 3.79, 3.75], [66.5, 66.5, 66.5]]),
    }
    channels = {name: judge(name)(values, np.arange(2.0)) for name, values in raw.items()}
    derive(channels, BATTERY, {})
    (good, good_marks), (garbage, marks) = rows_of(channels)
    assert (good["cell_voltage_max"], good["cell_voltage_min"], good["cell_spread"]) == (3.79, 3.72, 0.07)
    assert good_marks == {}
    assert garbage["cell_voltages"] == [66.5, 66.5, 66.5]
    assert (garbage["cell_voltage_max"], garbage["cell_voltage_min"], garbage["cell_spread"]) == (3.81, 3.71, 0.1)
    assert marks == {"cell_voltages": "range"}


def test_extremes_come_from_usable_elements_and_single_faults_are_named() -> None:
    mono = np.zeros(1)
    channels = {"cell_voltages": judge("cell_voltages", (0.0,))(np.array([[3.7, 0.0, 66.5, 3.6]]), mono)}
    derive(channels, BATTERY, {})
    ((row, marks),) = rows_of(channels)
    assert row["cell_voltages"] == [3.7, None, 66.5, 3.6]
    assert (row["cell_voltage_max"], row["cell_voltage_min"], row["cell_spread"]) == (3.7, 3.6, 0.1)
    assert marks == {"cell_voltages[1]": "fault:missing", "cell_voltages[2]": "range"}


def test_without_any_usable_element_or_scalar_the_derived_ones_are_missing() -> None:
    channels = {"cell_voltages": judge("cell_voltages")(np.array([[math.nan, 66.5]]), np.zeros(1))}
    derive(channels, BATTERY, {})
    ((row, marks),) = rows_of(channels)
    for name in ("cell_voltage_max", "cell_voltage_min", "cell_spread"):
        assert (row[name], marks[name]) == (None, "fault:missing")


def test_a_suspect_probe_makes_its_extreme_suspect_and_no_other() -> None:
    probes = np.array([[30.0, 31.0], [30.0, 111.0]])
    channels: dict[str, Readings] = {"temperatures": judge("temperatures")(probes, np.arange(2.0))}
    derive(channels, BATTERY, {})
    _, (row, marks) = rows_of(channels)
    assert (row["temperature_max"], row["temperature_min"]) == (111, 30)
    assert marks == {"temperatures[1]": "suspect", "temperature_max": "suspect"}


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_the_other_probes_do_not_speak_for_one_that_jumped_and_died(cut: int) -> None:
    probes = np.array([[30.0, 31.0], [110.0, 31.0], [math.nan, 31.0], [math.nan, 31.0]])
    temperatures, doubtful = judge("temperatures"), dict[str, int]()
    found = []
    for part in (slice(0, cut), slice(cut, 4)):
        if len(probes[part]):
            channels = {"temperatures": temperatures(probes[part], np.arange(4.0)[part])}
            derive(channels, BATTERY, doubtful)
            found += rows_of(channels)
    marks = [quality.get("temperature_max") for _, quality in found]
    assert [row["temperature_max"] for row, _ in found] == [31, 110, None, 31]
    assert marks == [None, "suspect", "fault:missing", None]
    assert [row["temperature_min"] for row, _ in found] == [30, 31, 31, 31]


def test_the_spread_of_a_battery_without_cell_readings_is_that_of_its_scalars() -> None:
    mono = np.zeros(1)
    channels = {
        "cell_voltage_max": judge("cell_voltage_max")(np.array([3.8]), mono),
        "cell_voltage_min": judge("cell_voltage_min")(np.array([3.65]), mono),
    }
    derive(channels, BATTERY, {})
    assert rows_of(channels)[0][0]["cell_spread"] == 0.15
