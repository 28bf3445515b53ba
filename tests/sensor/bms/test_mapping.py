"""What a BMS said as channels. Samples have the form of aiobmsble's BMSSample."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.profiles import load_profile
from services.sensor.bms.config import Pack
from services.sensor.bms.mapping import device_of, read
from services.sensor.rows import Rows
from services.sensor.source import Reading


class T(IntEnum):
    GENERIC = 0
    CELL = 1
    MOSFET = 4
    AMBIENT = 8


@dataclass(frozen=True)
class Probe:
    value: float
    type: T = T.GENERIC


def pack(**values: Any) -> Pack:
    return Pack(**{"address": "A4:C1:38:00:00:01", "cells": 2, "probes": 1} | values)


SAMPLE = {
    "voltage": 6.6,
    "current": -2.5,
    "battery_level": 55,
    "cell_voltages": [3.3, 3.31],
    "temp_values": [Probe(70.0, T.MOSFET), Probe(21.5, T.CELL)],
}


def test_units_and_signs() -> None:
    found = read(SAMPLE, pack())
    assert found.faults == {}
    assert found.channels == {
        "voltage": 6.6,
        "current": -2.5,
        "soc": 0.55,
        "cell_voltages": [3.3, 3.31],
        "temperatures": [21.5],
    }


def test_a_current_that_is_wired_the_other_way_round() -> None:
    assert read(SAMPLE, pack(invert_current=True)).channels["current"] == 2.5


def test_what_is_not_told_is_no_reading() -> None:
    found = read({"voltage": 6.6}, pack())
    assert (found.channels["current"], found.channels["soc"]) == (None, None)
    assert found.channels["cell_voltages"] == [None, None]
    assert found.faults == dict.fromkeys(("cell_voltages[0]", "cell_voltages[1]", "temperatures[0]"), "wrong_length")


def test_only_what_the_file_names() -> None:
    found = read(SAMPLE, pack(cells=0, probes=0, channels=["voltage"]))
    assert found.channels == {"voltage": 6.6}


def test_a_cell_that_is_gone_leaves_the_extremes_of_the_others() -> None:
    found = read(SAMPLE | {"cell_voltages": [4.4]}, pack())
    assert found.channels["cell_voltages"] == [4.4, None]
    assert found.faults == {"cell_voltages[1]": "wrong_length"}
    rows = Rows(device_of(pack()), load_profile("battery"))
    rows.take(Reading("pack-1", 10.0, found.channels, found.faults))
    channels, quality = rows.row(10.0)
    assert channels["cell_voltage_max"] == 4.4
    assert quality["cell_voltages[1]"] == "fault:wrong_length"


def test_more_cells_than_the_file_says_cannot_be_told_apart() -> None:
    found = read(SAMPLE | {"cell_voltages": [3.3, 3.3, 3.3]}, pack())
    assert "cell_voltages" not in found.channels
    assert found.faults == {"cell_voltages": "wrong_length"}


def test_a_voltage_that_was_added_up_from_cells_falls_with_them() -> None:
    found = read(SAMPLE | {"cell_voltages": [3.3], "voltage": 3.3}, pack())
    assert found.faults["voltage"] == "wrong_length"


@pytest.mark.parametrize("raw", [True, "6.6", math.nan, math.inf, [1.0], {}])
def test_what_is_no_number(raw: object) -> None:
    assert read(SAMPLE | {"voltage": raw}, pack()).faults == {"voltage": "no_number"}
    assert read(SAMPLE | {"cell_voltages": [3.3, raw]}, pack()).faults == {"cell_voltages[1]": "no_number"}


def test_probes_of_a_bms_of_several_packs() -> None:
    parts: list[dict[str, Any]] = [{"temp_values": [20.0, Probe(60.0, T.MOSFET)]}, {"temp_values": [22.0]}, {}]
    found = read({"packs": parts}, pack(probes=2))
    assert found.channels["temperatures"] == [20.0, 22.0]


PROFILE = load_profile("battery")
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.floats() | st.none())
samples = st.dictionaries(
    st.sampled_from([*SAMPLE, "cell_count"]),
    values,
)


@given(samples, st.integers(0, 3), st.integers(0, 3))
def test_any_sample_speaks_of_every_channel(sample: dict[str, Any], cells: int, probes: int) -> None:
    """And so is a row of its device, whatever is wrong with it."""
    given_pack = pack(cells=cells, probes=probes)
    found = read(sample, given_pack)
    rows = Rows(device_of(given_pack), PROFILE)
    whole, strange = rows.take(Reading("pack-1", 1.0, found.channels, found.faults))
    assert (whole, strange) == (True, [])
