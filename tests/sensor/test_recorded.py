"""Recordings: every shipped map finds its files; every bad file is refused with its name and the place."""

import contextlib
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.bus.errors import ConfigError, EmberwatchError, SourceError
from services.bus.settings import ROOT
from services.sensor import recorded
from services.sensor.recorded import Recording, open_recording
from tests.nobody import NOBODY, let_in

START = 1_555_000_000.0  # April 2019
DEMO = ROOT / "services" / "sensor" / "recordings" / "car1.parquet"


def vehicle(rows: int = 40, cells: int = 5, probes: int = 3, *, raw: bool = False, **columns: Any) -> dict[str, Any]:
    """A vehicle's columns as in the BatICM set; `columns` replace (or with None remove) some."""
    noise = np.random.default_rng(1)
    probe = noise.integers(20, 30, (rows, probes))
    found: dict[str, Any] = {
        "tboxTime": (START + 10.0 * np.arange(rows)) * 1e6,
        "BMSBatteryVoltage": np.full(rows, 350.0),
        "BMSBatteryCurrent": np.full(rows, -20.0),
        "vehBMSPackSOC": np.full(rows, 50),
        "BMSCellVoltageMax": np.full(rows, 3.8),
        "BMSCellVoltageMin": np.full(rows, 3.7),
        "BMSProbeTempMax": probe.max(axis=1),
        "BMSProbeTempMin": probe.min(axis=1),
    }
    found |= {f"V_{i + 1}": 3.7 + 0.1 * noise.random(rows) for i in range(cells)}
    found |= {f"T_{i + 1}": (probe[:, i] + (40 if raw else 0)).astype(np.float32) for i in range(probes)}
    found |= columns
    found = {name: column for name, column in found.items() if column is not None}
    found["tboxTime"] = pa.array(np.asarray(found["tboxTime"]).astype("int64"), pa.timestamp("us"))
    return found


def write(path: Path, columns: dict[str, Any]) -> Path:
    table = pa.table({name: c if isinstance(c, pa.Array) else pa.array(c) for name, c in columns.items()})
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rec.csv"
    path.write_text(text)
    return path


def rows_of(recording: Recording, first: int = 0) -> list[Any]:
    return [row for chunk in recording.chunks(first) for row in chunk.rows]


def refusal(path: Path, map_name: str | None = None) -> str:
    with pytest.raises(SourceError) as raised:
        open_recording(path, map_name)
    assert str(path) in str(raised.value)
    return str(raised.value).replace(str(path), path.name)


# --- which map ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("as_type", [np.int64, np.float32])
def test_a_vehicle_finds_its_map_whatever_its_types(tmp_path: Path, suffix: str, raw: bool, as_type: Any) -> None:
    columns = vehicle(raw=raw)
    for name in ("BMSProbeTempMax", "BMSProbeTempMin", "vehBMSPackSOC"):
        columns[name] = columns[name].astype(as_type)
    recording = open_recording(write(tmp_path / f"car{suffix}", columns), None)
    assert recording.map.title.endswith("raw probes" if raw else "probes in degC")
    assert recording.layout.period_s == 10.0
    assert recording.times[0] == START
    channels, quality = rows_of(recording)[0]
    assert quality == {}
    assert (channels["voltage"], channels["current"], channels["soc"]) == (350.0, 20.0, 0.5)
    assert 20 <= channels["temperature_min"] <= channels["temperature_max"] < 30
    assert channels["temperature_max"] == max(channels["temperatures"])
    assert channels["cell_voltage_max"] == max(channels["cell_voltages"]) != 3.8  # the elements', not the scalar's
    assert len(channels["cell_voltages"]) == 5


@pytest.mark.parametrize("raw", [False, True])
def test_a_bad_beginning_does_not_mislead_the_choice(tmp_path: Path, raw: bool) -> None:
    columns = vehicle(6000, raw=raw)
    for name in ("T_1", "T_2", "T_3"):
        columns[name][:2500] = 255
    title = open_recording(write(tmp_path / "car.parquet", columns), None).map.title
    assert title.endswith("raw probes" if raw else "probes in degC")


@pytest.mark.parametrize(
    ("lacking", "gone"),
    [
        (["V_"], {"cell_voltages"}),
        (["T_"], {"temperatures"}),
        (["V_", "T_"], {"cell_voltages", "temperatures"}),
        (["BMSCellVoltage"], set()),
        (["T_", "BMSProbeTemp"], {"temperatures", "temperature_max", "temperature_min"}),
        (["vehBMSPackSOC", "BMSProbeTempMin"], {"soc"}),
        (["BMSBatteryVoltage", "BMSBatteryCurrent"], {"voltage", "current"}),
    ],
)
def test_a_vehicle_that_lacks_columns_has_the_rest(tmp_path: Path, lacking: list[str], gone: set[str]) -> None:
    columns = {n: c for n, c in vehicle(raw=True).items() if not n.startswith(tuple(lacking))}
    recording = open_recording(write(tmp_path / "car.parquet", columns), None)
    everything = {channel.name for channel in recording.profile.channels}
    assert {channel.name for channel in recording.layout.channels} == everything - gone
    assert all(set(channels) == everything - gone and not quality for channels, quality in rows_of(recording))


def test_probes_whose_unit_cannot_be_told_are_refused_and_a_map_by_name_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "car.parquet", vehicle(raw=True, BMSProbeTempMax=None))
    assert "ev-fault-raw: " in (reason := refusal(path))
    assert "the unit of temperatures cannot be told without column 'BMSProbeTempMax'" in reason
    channels, _ = rows_of(open_recording(path, "ev-fault-raw"))[0]
    assert 20 <= channels["temperature_max"] < 30


def test_the_committed_recordings_find_their_maps() -> None:
    assert open_recording(DEMO, None).map.title.endswith("probes in degC")
    car2 = open_recording(ROOT / "tests" / "recordings" / "car2.parquet", None)
    assert car2.map.title.endswith("raw probes")
    assert {c.name: c.length for c in car2.layout.channels if c.length} == {"cell_voltages": 88, "temperatures": 19}


def test_a_csv_of_the_profiles_own_names_needs_no_map(tmp_path: Path) -> None:
    text = "ts,voltage,cell_voltages_2,cell_voltages_1,note\n"
    text += "2026-01-01T00:00:00.250Z,11.1,3.6,3.7,x\n1767225601,11,3.5,3.7,\n"
    recording = open_recording(csv(tmp_path, text), None)
    assert recording.times.tolist() == [1767225600.25, 1767225601.0]
    assert [c["cell_voltages"] for c, _ in rows_of(recording)] == [[3.7, 3.6], [3.7, 3.5]]
    assert [c["cell_spread"] for c, _ in rows_of(recording)] == [0.1, 0.2]


def test_a_map_is_found_by_name_by_file_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "when,U\n1767225600,11\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "{profile: battery, title: Mine, time: {column: when}, time_source: ntp, channels: {voltage: {column: U}}}"
    )
    assert open_recording(path, str(mine)).rows == 1
    assert "battery: column 'ts' (time) is missing; there are 'when', 'U'" in refusal(path)
    assert "column 'ts' (time) is missing" in refusal(path, "battery")
    with pytest.raises(ConfigError, match=r"--map: nope: no such file, and no shipped map \(battery, ev-fault"):
        open_recording(path, "nope")
    mine.write_text("profile: battery\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: title: Field required"):
        open_recording(path, str(mine))


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("vibes: {column: U}", "the map's channel 'vibes' is not in profile battery"),
        ("cell_voltages: {column: U}", "cell_voltages: 'U' .. is mapped as scalar and vector mixed up"),
        ("voltage: {columns: '(U)'}", "column 'U' (voltage): 'U' is no element's number"),
        ("voltage: {columns: 'U(\\d*)'}", "column 'U' (voltage): '' is no element's number"),
    ],
)
def test_a_map_that_does_not_fit_the_profile_is_refused(tmp_path: Path, channel: str, reason: str) -> None:
    path, mine = csv(tmp_path, "when,U\n1767225600,11\n"), tmp_path / "mine.yaml"
    mine.write_text(
        f"{{profile: battery, title: M, time: {{column: when}}, time_source: ntp, channels: {{{channel}}}}}"
    )
    assert reason in refusal(path, str(mine))


# --- bad files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 4, 100, 3000])
def test_a_truncated_parquet_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "car.parquet", vehicle(500))
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path).startswith("car.parquet: ")


def test_a_parquet_with_a_damaged_page_is_refused_or_read(tmp_path: Path) -> None:
    path = write(tmp_path / "car.parquet", vehicle(500))
    content = bytearray(path.read_bytes())
    content[8:2000] = b"\xff" * 1992
    path.write_bytes(content)
    assert refusal(path).startswith("car.parquet: ")


ROWS = "ts,voltage,current\n1767225600,11,1\n1767225601,12,2\n1767225602,13,3\n"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("ts,voltage", "voltage,voltage", "column 'ts' (time) is missing"),
        ("voltage,current", "voltage,voltage", "column 'voltage' is there 2 times"),
        ("12", "twelve", "column 'voltage', row 2: 'twelve' is no number"),
        ("12", "1,2", "Expected 3 columns, got 4"),
        ("1767225601", "", "column 'ts' (time), row 2: empty"),
        ("1767225601", "yesterday", "column 'ts' (time), row 2: 'yesterday' is no time"),
        ("1767225601", "nan", "column 'ts' (time), row 2: empty"),
        ("1767225601", "inf", "column 'ts' (time), row 2: inf s since 1970 is not between 2000 and 2100"),
        ("1767225602", "0", "row 3: 1970-01-01T00:00:00.000Z is not between 2000 and 2100: a clock that was not set?"),
        ("1767225602", "4300000000", "row 3: 2106-04-06T12:26:40.000Z is not between 2000 and 2100"),
        ("1767225602", "1767225602000", "row 3: 1.76723e+12 s since 1970 is not between 2000 and 2100"),
        ("1767225602", "-1e300", "row 3: -1e+300 s since 1970 is not between"),
        (ROWS, "ts,voltage,current\n", "holds no rows"),
        (ROWS, "", "Empty CSV file"),
        (ROWS, "ts,voltage\n1767225600,\n1767225601,NaN\n", "no column of the map holds a reading"),
        (ROWS, "ts,colour\n1767225600,1\n", "no column of the map was found; there are 'ts', 'colour'"),
    ],
)
def test_a_wrong_csv_is_refused_with_column_and_row(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert reason in refusal(csv(tmp_path, ROWS.replace(old, new)), "battery")


def test_a_1970_clock_in_timestamps_and_dates_is_refused_with_its_row(tmp_path: Path) -> None:
    text = "ts,voltage\n2026-01-01T00:00:00Z,11\n1970-01-01T00:00:07Z,12\n"
    assert "row 2: 1970-01-01T00:00:07.000Z is not between" in refusal(csv(tmp_path, text))
    assert "row 1: 1970-01-02T00:00:00.000Z" in refusal(csv(tmp_path, "ts,voltage\n1970-01-02,11\n"))


def test_columns_of_a_strange_type_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "car.parquet", vehicle(2, BMSBatteryVoltage=pa.array([[1.0], [2.0]])))
    assert "column 'BMSBatteryVoltage', row 1: '[1.0]' is no number" in refusal(path)
    times = {"ts": pa.array([[1.0]]), "voltage": [11.0]}
    assert "column 'ts', row 1: '[1.0]' is no number" in refusal(write(tmp_path / "t.parquet", times))


@pytest.mark.parametrize("name", ["rec.txt", "rec", "rec.csv.gz"])
def test_a_wrong_suffix_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(ROWS)
    assert "a recording is .parquet or .csv" in refusal(path)


def test_a_suffix_in_capitals_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "REC.CSV"
    path.write_text(ROWS)
    assert open_recording(path, None).rows == 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    assert "No such file" in refusal(tmp_path / f"gone{suffix}").replace("Failed to open local file", "No such file")
    (tmp_path / f"folder{suffix}").mkdir()
    refusal(tmp_path / f"folder{suffix}")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """As an ordinary user: root may read everything."""
    path = csv(tmp_path, ROWS)
    path.chmod(0)
    code = "import sys, pathlib; from services.sensor.recorded import Recording; Recording(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(path)]
    let_in(tmp_path)
    done = subprocess.run([*NOBODY, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SourceError" in done.stderr
    assert f"{path}" in done.stderr
    assert "Permission denied" in done.stderr


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([".csv", ".parquet"]))
def test_any_bytes_are_read_or_refused_with_a_named_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(EmberwatchError):
        assert rows_of(open_recording(path, None))


cell = st.sampled_from(["11", "0", "", "NaN", "inf", "-inf", "1e308", "99999999999999999999", "-3", "110", "30"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=12))
def test_no_number_stops_a_recording_and_every_row_is_there(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    text = "ts,voltage,temperature_max,cell_voltages_1,soc\n"
    text += "".join(f"{1767225600 + i},{','.join(row)},0.5\n" for i, row in enumerate(rows))
    assert len(rows_of(open_recording(csv(tmp_path, text), None))) == len(rows)


# --- odd, but recorded ----------------------------------------------------------------------------------------------


def test_nothing_read_is_null_with_its_reason(tmp_path: Path) -> None:
    text = "ts,voltage,temperature_max\n1767225600,11,30\n1767225601,NaN,inf\n1767225602,,-inf\n1767225603,99999,65\n"
    found = rows_of(open_recording(csv(tmp_path, text), None))
    assert (
        found[1:3]
        == [({"voltage": None, "temperature_max": None}, {"voltage": "fault:nan", "temperature_max": "fault:nan"})] * 2
    )
    assert found[3] == (
        {"voltage": 99999.0, "temperature_max": 65.0},
        {"voltage": "range", "temperature_max": "suspect"},
    )


def test_zero_is_missing_only_where_the_map_says_so(tmp_path: Path) -> None:
    columns = vehicle(raw=True)
    for name in ("BMSBatteryVoltage", "BMSBatteryCurrent", "V_1"):
        columns[name][7] = 0
    row, quality = rows_of(open_recording(write(tmp_path / "car.parquet", columns), None))[7]
    assert (row["voltage"], row["current"], row["cell_voltages"][0]) == (None, 0.0, None)
    assert quality == {"voltage": "fault:missing", "cell_voltages[0]": "fault:missing"}


def test_times_that_repeat_or_go_back_keep_their_rows_and_the_steady_clock_does_not_go_back(tmp_path: Path) -> None:
    times = [100, 101, 101, 90, 91, 102, 3702]
    text = "ts,voltage\n" + "".join(f"{1767225600 + t},{i}\n" for i, t in enumerate(times))
    recording = open_recording(csv(tmp_path, text), None)
    assert [t - 1767225600 for t in recording.times] == times
    assert recording.mono.tolist() == [0, 1, 1, 1, 1, 2, 3602]
    assert [row["voltage"] for row, _ in rows_of(recording)] == [0, 1, 2, 3, 4, 5, 6]


def test_nanoseconds_and_zones_of_times_are_read(tmp_path: Path) -> None:
    nanoseconds = pa.array([1_767_225_600_000_000_123], pa.timestamp("ns", tz="Europe/Berlin"))
    path = write(tmp_path / "r.parquet", {"ts": nanoseconds, "voltage": [11.0]})
    assert open_recording(path, None).times.tolist() == [1767225600.0]


def test_a_probe_that_never_reads_is_not_in_the_layout(tmp_path: Path) -> None:
    columns = vehicle(raw=True, T_2=np.full(40, 255))
    recording = open_recording(write(tmp_path / "car.parquet", columns), None)
    assert next(c.length for c in recording.layout.channels if c.name == "temperatures") == 2


@pytest.mark.parametrize("first", [0, 1, 9, 10, 25, 39, 40])
def test_rows_are_the_same_wherever_reading_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """A probe dead for long, then jumping: what it read before it died still counts."""
    monkeypatch.setattr(recorded, "CHUNK_ROWS", 10)
    probe: Sequence[float] = [30, *[math.nan] * 24, 110, 30, *[30.0] * 13]
    text = "ts,temperature_max\n" + "".join(f"{1767225600 + 0.1 * i},{t}\n" for i, t in enumerate(probe))
    recording = open_recording(csv(tmp_path, text), None)
    everything = rows_of(recording)
    assert everything[25] == ({"temperature_max": 110.0}, {"temperature_max": "suspect"})
    assert repr(rows_of(recording, first)) == repr(everything[first:])
    assert [c.first for c in recording.chunks(first)][:1] == ([first] if first < 40 else [])


def test_identity_is_the_contents_the_maps_and_the_devices(tmp_path: Path) -> None:
    one, other = csv(tmp_path, ROWS), tmp_path / "copy.csv"
    other.write_text(ROWS)
    first = open_recording(one, None).identity("pi", "pack-1")
    assert first == open_recording(other, "battery").identity("pi", "pack-1")
    assert first != open_recording(one, None).identity("pi", "pack-2")
    other.write_text(ROWS.replace("13", "14"))
    assert first != open_recording(other, None).identity("pi", "pack-1")
