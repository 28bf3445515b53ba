"""Standard characteristics: examples by hand, and bluetooth-sig as an independent reader."""

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluetooth_sig import BluetoothSIGTranslator
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alert.outputs.ble import bytes as sig

ORACLE = BluetoothSIGTranslator()
RATIO = st.floats(0, 1)


def read(uuid: str, data: bytes) -> Any:
    return ORACLE.parse_characteristic(uuid, data)


def test_examples_from_the_specifications() -> None:
    assert sig.temperature(61.2) == bytes.fromhex("E817")
    assert sig.temperature(None) == bytes.fromhex("0080")
    assert sig.battery_level_status(0.87, -46.2, False, False) == bytes.fromhex("06C5005700")
    assert sig.battery_level_status(0.87, -46.2, True, False) == bytes.fromhex("06C5005704")
    assert sig.battery_critical_status(False, True) == b"\x02"
    assert sig.battery_health_status(0.94, 29.0) == bytes.fromhex("055E1D")
    assert sig.battery_level(None) is None


@settings(deadline=None)  # the first call reads the tables
@given(RATIO)
def test_battery_level(soc: float) -> None:
    assert read("2A19", sig.battery_level(soc) or b"") == round(soc * 100)


@given(st.none() | RATIO, st.none() | st.floats(-500, 500), st.booleans(), st.none() | st.booleans())
def test_battery_level_status(soc: float | None, current: float | None, fault: bool, service: bool | None) -> None:
    status = read("2BED", sig.battery_level_status(soc, current, fault, service))
    assert status.battery_present
    assert status.battery_level == (None if soc is None else round(soc * 100))
    state = "CHARGING" if (current or 0) > 0.05 else "DISCHARGING" if (current or 0) < -0.05 else "NOT_CHARGING"
    assert status.battery_charge_state.name == ("UNKNOWN" if current is None else state)
    level = "UNKNOWN" if soc is None else "GOOD" if soc > 0.2 else "LOW" if soc > 0.05 else "CRITICALLY_LOW"
    assert status.battery_charge_level.name == level
    assert status.battery_fault is fault
    assert status.service_required.name == {True: "TRUE", False: "FALSE", None: "UNKNOWN"}[service]


@given(st.none() | RATIO, st.none() | st.floats(-127, 126))
def test_battery_health_status(health: float | None, temperature: float | None) -> None:
    status = read("2BEA", sig.battery_health_status(health, temperature))
    assert status.battery_health_summary == (None if health is None else round(health * 100))
    assert status.current_temperature == (None if temperature is None else round(temperature))


@pytest.mark.parametrize(("temperature", "coded"), [(140.0, 0x7F), (-140.0, 0x80), (126.0, 126)])
def test_temperatures_beyond_a_byte_are_told_as_such(temperature: float, coded: int) -> None:
    assert sig.battery_health_status(None, temperature)[-1] == coded


@given(st.booleans(), st.booleans())
def test_battery_critical_status(power: bool, service: bool) -> None:
    status = read("2BE9", sig.battery_critical_status(power, service))
    assert (status.critical_power_state, status.immediate_service_required) == (power, service)


@given(st.floats(-273.15, 327.67))
def test_temperature(celsius: float) -> None:
    assert read("2A6E", sig.temperature(celsius)) == pytest.approx(celsius, abs=0.0051)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_current_time_there_and_back(time: datetime) -> None:
    data = sig.current_time(time)
    told = read("2A2B", data)
    assert told.date_time.replace(tzinfo=None) == time.replace(microsecond=0)
    assert told.day_of_week.value == time.isoweekday()
    assert abs(sig.read_current_time(data) - time) <= timedelta(seconds=1 / 256)


@given(st.binary(max_size=12))
def test_any_written_time_is_read_or_refused_by_name(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert sig.current_time(sig.read_current_time(data))[:7] == data[:7]


@given(st.text(max_size=80))
def test_texts_are_cut_between_characters(text: str) -> None:
    assert text.encode().startswith(sig.text(text))
    assert sig.text(text).decode() is not None
    assert len(sig.text(text)) <= 64
