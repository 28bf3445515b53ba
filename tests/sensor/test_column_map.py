"""Column maps: which columns are found, and errors that name file and key or column."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.errors import ConfigError, SourceError
from services.bus.profiles import load_profile
from services.sensor.column_map import load_map, shipped_maps

GOOD = r"""
profile: battery
title: Mine
time: {column: t}
time_source: rtc
channels:
  voltage: {column: U}
  soc: {column: S, scale: 0.01, optional: true}
  cell_voltages: {columns: 'C(\d+)', optional: true}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_columns_of_a_vector_are_sorted_by_number_and_optional_ones_may_lack(tmp_path: Path) -> None:
    column_map = load_map(written(tmp_path, GOOD))
    found = column_map.select(["C10", "C2", "C1", "U", "t", "CX", "C3b"], "rec.csv")
    assert found == {"voltage": ["U"], "cell_voltages": ["C1", "C2", "C10"]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["U", "S"], r"rec\.csv: column 't' \(time\) is missing; there are 'U', 'S'"),
        (["t", "S"], r"rec\.csv: column 'U' \(voltage\) is missing; there are 't', 'S'"),
        (["t", "U", "C1", "C1"], r"rec\.csv: column 'C1' is there 2 times"),
        (["t", "t", "U"], r"rec\.csv: column 't' is there 2 times"),
        ([f"x{i}" for i in range(20)], r"there are 'x0', .*'x11' and 8 more"),
    ],
)
def test_a_column_that_is_missing_or_ambiguous_is_named(tmp_path: Path, columns: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_map(written(tmp_path, GOOD)).select(columns, "rec.csv")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("time_source: rtc", "time_source: sundial", "time_source"),
        ("time_source: rtc", "time_source: none", "time_source"),
        ("{column: U}", "{column: U, scale: big}", "channels.voltage.scale"),
        ("{column: U}", "{column: U, factor: 2}", "channels.voltage.factor"),
        ("{column: U}", "{}", "channels.voltage"),
        ("{column: U}", "{column: U, columns: 'U(.)'}", "channels.voltage"),
        (r"'C(\d+)'", "'C[0-9]+'", "channels.cell_voltages.columns"),
        (r"'C(\d+)'", "'C('", "channels.cell_voltages.columns"),
        ("title: Mine", "titel: Mine", "title"),
    ],
)
def test_a_wrong_map_names_file_and_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as raised:
        load_map(path)
    assert (raised.value.where, raised.value.key) == (str(path), key)


@pytest.mark.parametrize("text", ["channels: [", "\x00", "- a list", "", "5"])
def test_what_is_no_map_at_all_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml: file: "):
        load_map(written(tmp_path, text))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_named_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(text, encoding="utf-8", errors="ignore")
        with contextlib.suppress(ConfigError):
            assert load_map(path).channels


@pytest.mark.parametrize("name", sorted(shipped_maps()))
def test_a_shipped_map_names_only_channels_of_its_profile(name: str) -> None:
    column_map = shipped_maps()[name]
    profile = load_profile(column_map.profile)
    for channel, column in column_map.channels.items():
        assert (profile.by_name[channel].kind == "vector") == (column.columns is not None)
