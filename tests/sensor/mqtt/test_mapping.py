"""Other people's payloads as channels."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sensor.mqtt.config import MappedDevice, TopicMap, Value, shipped_maps
from services.sensor.mqtt.mapping import DeviceMap, number, pick

INFO = {  # as Battery-Emulator publishes it
    "bms_status": "ACTIVE",
    "SOC": 62.0,
    "SOC_real": 61.2,
    "temperature_min": 18.0,
    "temperature_max": 19.5,
    "battery_current": -4.6,
    "battery_voltage": 355.2,
    "cell_max_voltage": 3.712,
    "cell_min_voltage": 3.688,
}


def device_map(topics: dict[str, Any], **device: Any) -> DeviceMap:
    made = TopicMap.model_validate({"title": "t", "source": "s", "period_s": 1, "max_age_s": 3, "topics": topics})
    return DeviceMap(made, MappedDevice.model_validate({"broker": "b", "map": "m"} | device))


def test_battery_emulator() -> None:
    made = DeviceMap(shipped_maps()["battery-emulator"], MappedDevice(broker="b", map="m", values={"name": "BE"}))
    assert list(made.topics) == ["BE/info"]
    found = made.read("BE/info", orjson.dumps(INFO))
    assert found.faults == {}
    assert found.channels == {
        "voltage": 355.2,
        "current": -4.6,
        "soc": pytest.approx(0.612),
        "cell_voltage_max": 3.712,
        "cell_voltage_min": 3.688,
        "temperature_max": 19.5,
        "temperature_min": 18.0,
    }
    before_the_battery_was_seen = made.read("BE/info", b'{"bms_status": "INACTIVE", "event_level": "INFO"}')
    assert set(before_the_battery_was_seen.channels.values()) == {None}


def test_venus() -> None:
    values: dict[str, str | int] = {"portal": "c0619ab1", "instance": 512}
    made = DeviceMap(shipped_maps()["venus-serialbattery"], MappedDevice(broker="b", map="m", values=values, cells=16))
    assert made.device.channels["cell_voltages"] == 16
    assert made.read("N/c0619ab1/battery/512/Voltages/Cell16", b'{"value": 3.301}').channels == {
        "cell_voltages[15]": 3.301
    }
    assert made.read("N/c0619ab1/battery/512/Soc", b'{"value": 61}').channels == {"soc": 0.61}
    assert made.read("N/c0619ab1/battery/512/Soc", b'{"value": null}').channels == {"soc": None}
    asks = list(made.asks())
    assert (30.0, "R/c0619ab1/keepalive", b'{"keepalive-options": ["suppress-republish"]}') in asks
    read = {topic for _, topic, _ in asks if topic != "R/c0619ab1/keepalive"}
    assert {topic.replace("R/", "N/", 1) for topic in read} == set(made.topics)  # all that is mapped is asked for


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"{", "json"),
        (b"", "json"),
        (b'{"v": "many"}', "no_number"),
        (b'{"v": true}', "no_number"),
        (b'{"v": {}}', "no_number"),
        (b'{"v": [1, 2]}', "no_number"),
        (b'{"v": NaN}', "json"),
        (b"9" * 1_000_001, "json"),
    ],
)
def test_what_cannot_be_read_is_a_fault_of_its_channels(payload: bytes, fault: str) -> None:
    found = device_map({"a": {"voltage": {"path": "v"}, "current": {"path": "v"}}}).read("a", payload)
    assert (found.channels, found.faults) == ({}, {"voltage": fault, "current": fault})


def test_one_bad_value_leaves_the_others() -> None:
    made = device_map({"a": {"voltage": {"path": "v"}, "current": {"path": "i"}}})
    found = made.read("a", b'{"v": "??", "i": 3}')
    assert (found.channels, found.faults) == ({"current": 3.0}, {"voltage": "no_number"})


def test_vectors_as_lists_by_index_and_of_the_wrong_length() -> None:
    made = device_map(
        {"a": {"cell_voltages": {"path": "c"}}, "t": {"temperatures[0]": {"path": "x[1].c"}}},
        vectors={"cell_voltages": 3},
    )
    assert made.device.channels == {"cell_voltages": 3, "temperatures": 1}
    assert made.read("a", b'{"c": [3.1, null, 3.3]}').channels == {"cell_voltages": [3.1, None, 3.3]}
    assert made.read("a", b'{"c": [3.1]}').faults == {"cell_voltages": "wrong_length"}
    assert made.read("t", b'{"x": [{"c": 1}, {"c": 21.5}]}').channels == {"temperatures[0]": 21.5}


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ({}, "values: missing name"),
        ({"values": {"name": "x", "nam": "y"}}, "values: unknown nam"),
        ({"values": {"name": "x"}, "vectors": {"temperatures": 3}}, "vectors: temperatures: not in the map"),
    ],
)
def test_a_device_that_does_not_fit_its_map(device: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        device_map({"{name}/info": {"voltage": {"path": "v"}}}, **device)


def test_cells_that_are_not_counted() -> None:
    with pytest.raises(ValueError, match="say how many there are"):
        device_map({"Cell{cell}": {"cell_voltages[]": {}}})


def test_scale_offset_text_and_missing() -> None:
    assert number("12.5", Value(scale=0.1, offset=1.0)) == 2.25
    assert number(-40, Value(missing=(-40.0,))) is None
    assert number(math.inf, Value()) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abv"), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, st.sampled_from(["", "a", "a.b", "a[1].b[0]", "v[3]"]))
def test_any_content_gives_a_value_or_none(content: Any, path: str) -> None:
    pick(content, path)


@given(st.binary(max_size=60))
def test_any_payload_gives_numbers_nothing_or_faults(payload: bytes) -> None:
    found = device_map({"a": {"voltage": {"path": "v"}, "current": {}}}).read("a", payload)
    assert set(found.channels) | set(found.faults) == {"voltage", "current"}
    assert all(v is None or (isinstance(v, float) and math.isfinite(v)) for v in found.channels.values())
