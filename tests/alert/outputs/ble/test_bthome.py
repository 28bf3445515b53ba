"""The advertisement, read by the parser that Home Assistant uses."""

from typing import Any

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bthome_ble import BTHomeBluetoothDeviceData
from habluetooth import BluetoothServiceInfoBleak
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alert.outputs.ble.bthome import ROOM, Readings, advertisement

FCD2 = "0000fcd2-0000-1000-8000-00805f9b34fb"


def heard(data: bytes) -> dict[str, Any]:
    """What Home Assistant makes of it: device class -> value."""
    device = BLEDevice("F0:F1:F2:F3:F4:F5", "Emberwatch pi", {})
    said = AdvertisementData(device.name, {}, {FCD2: data}, [], None, -60, ())
    info = BluetoothServiceInfoBleak(
        device.name or "", device.address, said.rssi, {}, said.service_data, [], "local", device, said, False, 1.0, None
    )
    parser = BTHomeBluetoothDeviceData()
    assert parser.supported(info)
    update = parser.update(info)
    sensors = {key.key: value.native_value for key, value in update.entity_values.items()}
    return sensors | {key.key: value.native_value for key, value in update.binary_entity_values.items()}


def test_home_assistant_reads_it() -> None:
    told = heard(advertisement(Readings(0.61, 61.25, 48.25, -12.5, heat=True, problem=True, safety=False)))
    assert told.pop("signal_strength") == -60
    assert told == {
        "battery": 61, "temperature": 61.25, "voltage": 48.25, "current": -12.5,
        "heat": True, "problem": True, "safety": False,
    }  # fmt: skip


def test_a_vehicle_s_voltage_takes_the_coarse_object() -> None:
    assert heard(advertisement(Readings(None, None, 355.2, None, False, False, False)))["voltage"] == 355.2


def test_what_is_unknown_or_does_not_fit_is_left_out() -> None:
    told = heard(advertisement(Readings(None, None, None, -146.0, False, False, True)))
    assert set(told) == {"heat", "problem", "safety", "signal_strength"}
    assert told["safety"] is True


NUMBER = st.none() | st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(st.builds(Readings, st.none() | st.floats(0, 1), NUMBER, NUMBER, NUMBER, *[st.booleans()] * 3))
def test_any_readings_fit_an_advertisement_in_the_order_of_their_numbers(readings: Readings) -> None:
    data = advertisement(readings)
    assert len(data) <= ROOM
    told = heard(data)
    assert (told["heat"], told["problem"], told["safety"]) == (readings.heat, readings.problem, readings.safety)
    if readings.soc is not None:
        assert told["battery"] == round(readings.soc * 100)
