"""Readings gathered into rows: each judged once, none repeated when it is old, one failing never another's concern."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bus.messages import Sample, Values
from services.bus.profiles import load_profile
from services.sensor.resting import Rest
from services.sensor.rows import Rows
from services.sensor.source import Device, Reading

BATTERY = load_profile("battery")
PACK = Device("battery", {"voltage": None, "current": None, "cell_voltages": 3, "temperatures": 2}, period_s=1.0)
CELLS: Values = [3.7, 3.71, 3.69]


def rows(device: Device = PACK) -> Rows:
    return Rows(device, BATTERY)


def reading(mono: float, faults: dict[str, str] | None = None, /, **channels: Any) -> Reading:
    named = {name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in channels.items()}
    return Reading("pack-1", mono, named, faults or {})


def whole(mono: float, **changed: Any) -> Reading:
    row = {"voltage": 11.1, "current": -2.0, "cell_voltages": CELLS, "temperatures": [21.0, 22.5]}
    return reading(mono, **(row | changed))


def test_a_whole_row_is_the_reading_with_what_is_derived_from_it() -> None:
    pack = rows()
    assert pack.take(whole(5.0)) == (True, [])
    channels, quality = pack.row(5.0)
    assert quality == {}
    assert channels == {
        "voltage": 11.1,
        "current": -2.0,
        "cell_voltage_max": 3.71,
        "cell_voltage_min": 3.69,
        "cell_spread": 0.02,
        "temperature_max": 22.5,
        "temperature_min": 21.0,
        "cell_voltages": [3.7, 3.71, 3.69],
        "temperatures": [21.0, 22.5],
    }
    assert [c.name for c in pack.layout.channels] == list(channels)


def test_parts_at_their_own_rates_make_a_row() -> None:
    pack = rows()
    for part in (
        reading(1.0, voltage=11.1, current=0.0),
        reading(1.2, cell_voltages=CELLS),
        reading(1.3, temperatures__1=22.5),
        reading(1.4, temperatures__0=21.0),
    ):
        assert pack.take(part) == (False, [])
    channels, quality = pack.row(1.5)
    assert quality == {}
    assert channels["temperatures"] == [21.0, 22.5]


def test_what_never_came_and_what_is_old_is_a_fault_and_no_repeat() -> None:
    pack = rows()
    pack.take(reading(0.0, voltage=11.1))
    channels, quality = pack.row(1.0)
    assert channels["voltage"] == 11.1
    assert (channels["current"], quality["current"]) == (None, "fault:no_reading")
    assert (channels["temperatures"], quality["temperatures"]) == ([None, None], "fault:no_reading")
    channels, quality = pack.row(2.1)
    assert (channels["voltage"], quality["voltage"]) == (None, "fault:stale")
    pack.take(reading(2.2, voltage=11.2))
    channels, quality = pack.row(2.3)
    assert channels["voltage"] == 11.2
    assert "voltage" not in quality


def test_a_slow_probe_is_fresh_for_longer_than_the_others() -> None:
    device = Device("battery", PACK.channels, 1.0, ages={"temperatures[0]": 6.0, "cell_voltages": 4.0})
    pack = rows(device)
    pack.take(whole(0.0))
    channels, quality = pack.row(3.5)
    assert channels["temperatures"] == [21.0, None]
    assert quality["temperatures[1]"] == "fault:stale"
    assert channels["cell_voltages"] == CELLS
    assert pack.row(5.0)[1]["cell_voltages"] == "fault:stale"


def test_a_fault_of_one_element_is_named_and_leaves_the_others() -> None:
    pack = rows()
    pack.take(reading(0.0, {"temperatures[1]": "crc", "current": "saturated"}, **{**whole(0.0).channels}))
    channels, quality = pack.row(0.0)
    assert channels["temperatures"] == [21.0, None]
    assert (channels["current"], channels["temperature_max"], channels["voltage"]) == (None, 21.0, 11.1)
    assert quality == {"temperatures[1]": "fault:crc", "current": "fault:saturated"}


def test_a_fault_of_a_whole_vector_is_one_mark() -> None:
    pack = rows()
    assert pack.take(reading(0.0, {"cell_voltages": "bus"}, voltage=11.1)) == (False, [])
    channels, quality = pack.row(0.0)
    assert (channels["cell_voltages"], quality["cell_voltages"]) == ([None] * 3, "fault:bus")
    assert quality["cell_voltage_max"] == quality["cell_spread"] == "fault:missing"


def test_null_is_the_sources_own_word_for_missing_and_nan_is_none() -> None:
    pack = rows()
    pack.take(whole(0.0, voltage=None, current=math.inf))
    assert {k: v for k, v in pack.row(0.0)[1].items() if k in ("voltage", "current")} == {
        "voltage": "fault:missing",
        "current": "fault:nan",
    }


def test_a_jump_is_judged_once_and_its_repeat_confirms_nothing() -> None:
    pack = rows(Device("battery", {"temperatures": 2}, 1.0, max_age_s=5.0))
    pack.take(reading(0.0, temperatures=[21.0, 22.0]))
    pack.take(reading(1.0, temperatures__0=90.0))
    for mono in (1.0, 2.0, 3.0):
        channels, quality = pack.row(mono)
        assert (channels["temperatures"][0], quality["temperatures[0]"]) == (90.0, "suspect")
        assert (channels["temperature_max"], quality["temperature_max"]) == (90.0, "suspect")
    pack.take(reading(4.0, temperatures__0=91.0))
    assert pack.row(4.0)[1] == {}


def test_after_a_jump_that_died_the_others_do_not_speak_for_it() -> None:
    pack = rows(Device("battery", {"temperatures": 2}, 1.0))
    pack.take(reading(0.0, temperatures=[21.0, 22.0]))
    pack.row(0.0)
    pack.take(reading(1.0, temperatures=[90.0, 22.0]))
    pack.row(1.0)
    pack.take(reading(2.0, {"temperatures[0]": "gone"}, temperatures__1=22.0))
    channels, quality = pack.row(2.0)
    assert (channels["temperature_max"], quality["temperature_max"]) == (None, "fault:missing")
    pack.take(reading(3.0, {"temperatures[0]": "gone"}, temperatures__1=22.0))
    assert pack.row(3.0)[0]["temperature_max"] == 22.0


def test_what_the_device_does_not_have_is_told_and_the_rest_is_taken() -> None:
    pack = rows()
    strange: dict[str, Values] = {
        "pressure": 1.0,
        "temperatures[2]": 5.0,
        "voltage[0]": 1.0,
        "cell_voltages": [1.0],
        "current": -1.0,
    }
    taken = pack.take(Reading("pack-1", 0.0, strange, {"humidity": "crc"}))
    assert taken == (False, ["pressure", "temperatures[2]", "voltage[0]", "cell_voltages", "humidity"])
    assert pack.row(0.0)[0]["current"] == -1.0


def test_a_reason_that_no_quality_can_carry_is_unknown() -> None:
    pack = rows()
    pack.take(reading(0.0, {"voltage": "I/O error!", "current": "x" * 99}))
    assert [pack.row(0.0)[1][name] for name in ("voltage", "current")] == ["fault:unknown"] * 2


@pytest.mark.parametrize("channels", [{"pressure": None}, {"voltage": 3}, {"cell_voltages": None}])
def test_a_device_that_does_not_fit_its_profile_is_refused(channels: dict[str, int | None]) -> None:
    with pytest.raises(ValueError, match="profile battery"):
        rows(Device("battery", channels))


@pytest.mark.parametrize("period_s", [0.0, -1.0, 0.001, math.nan])
def test_a_period_that_is_none_is_refused(period_s: float) -> None:
    with pytest.raises(ValueError, match="period of"):
        rows(Device("battery", {"voltage": None}, period_s))


value = st.none() | st.floats() | st.floats(0, 50)
part = st.fixed_dictionaries(
    {},
    optional={
        "voltage": value,
        "cell_voltages": st.lists(value, min_size=3, max_size=3),
        "temperatures[0]": value,
        "temperatures[1]": value,
    },
)
reasons = st.dictionaries(st.sampled_from(["voltage", "current", "cell_voltages[1]", "temperatures"]), st.just("crc"))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), part, reasons), max_size=12))
def test_whatever_comes_each_row_is_a_sample_in_which_null_has_a_reason(parts: list[Any]) -> None:
    pack, mono = rows(), 0.0
    envelope = {"boot": "0" * 16, "seq": 0, "ts": "2026-11-21T08:15:02.250Z", "mono": 0.0, "layout": pack.layout.hash}
    for step, channels, faults in parts:
        mono += step
        pack.take(Reading("pack-1", mono, channels, faults))
        row, quality = pack.row(mono)
        Sample.model_validate(envelope | {"channels": row, "quality": quality})
        for name, value in row.items():
            elements = value if isinstance(value, list) else [value]
            for i, element in enumerate(elements):
                mark = quality.get(name, quality.get(f"{name}[{i}]", ""))
                assert (element is None) == mark.startswith("fault:")


def resting_rows() -> tuple[Rows, float]:
    """A device at rest, and when it was looked at last."""
    made = rows(replace(PACK, rest=Rest(period_s=10.0, after_s=10.0)))
    for t in range(40, 61):
        made.take(whole(float(t), current=0.0))
        _, quality = made.row(float(t))
        found = made.look(float(t), quality)
    assert found == 10.0
    return made, 60.0


def test_at_rest_a_reading_is_good_for_two_periods_of_the_rest() -> None:
    made, t = resting_rows()
    assert made.row(t + 20)[1] == {}
    assert made.row(t + 20.1)[1]["voltage"] == "fault:stale"


def test_what_wakes_it_ends_the_announced_period_and_makes_nothing_old() -> None:
    made, t = resting_rows()
    made.take(reading(t + 9, voltage=11.1, current=4.0))
    assert made.wakes(t + 9)
    assert not made.wakes(t + 9)
    assert made.due_s == made.period_s
    limit = 2 * made.period_s
    assert made.row(t + 9 + limit)[1] == {}  # cells and probes were read 9 s ago, which was often enough then
    quality = made.row(t + 9.1 + limit)[1]
    assert quality["temperatures"] == quality["cell_voltages"] == "fault:stale"


def test_what_stops_coming_wakes_it_with_its_row() -> None:
    made, t = resting_rows()
    _, quality = made.row(t + 21)
    assert made.look(t + 21, quality) is None
    assert made.due_s == made.period_s
