"""Phones at the virtual Pi: real BlueZ, the real kernel, our alert service, a person at display and button.

The tests are one story, in the order of the file: Anna's phone is a stranger, pairs, goes, comes back; Ben's joins it.
"""

import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from bumble.att import ATT_Error
from bumble.core import ProtocolError
from bumble.pairing import PairingDelegate

from services.alert.outputs.ble.attributes import ours
from services.alert.outputs.ble.bthome import INFORMATION
from tests.hardware.edge import BUTTON, WARM, Edge
from tests.hardware.rig.phone import Phone, until

pytestmark = pytest.mark.rig
SERVICE, SUMMARY, ALARM, ACKNOWLEDGE = (ours(n) for n in (1, 2, 3, 5))
TEMPERATURE, MODEL = 0x2A6E, 0x2A24
TOKEN: Final = 20
RULE, CHANNEL, HOT = "over_temperature", "temperature_max", 65.0
NOT_PAIRED: Final = (0x05, 0x0F)  # ATT: insufficient authentication, insufficient encryption
TAKEN: Final = 0
BEACON: Final = bytes([0xD2, 0xFC, INFORMATION])
RESTART: Final = """
kill $(pidof bluetoothd); while pidof bluetoothd >/dev/null; do sleep 0.1; done
setsid /usr/libexec/bluetooth/bluetoothd -n >>/run/bluetoothd.log 2>&1 </dev/null &
"""


@pytest.fixture(scope="module")
def anna(edge: Edge) -> Iterator[Phone]:
    edge.wait(edge.healthy, 60, "healthy rows")
    phone = edge.bench.pi.air.phone("C0:C1:C2:C3:C4:01")
    yield phone
    phone.disconnect()


@pytest.fixture(scope="module")
def ben(edge: Edge) -> Iterator[Phone]:
    phone = edge.bench.pi.air.phone("C0:C1:C2:C3:C4:02")
    yield phone
    phone.disconnect()


@contextmanager
def hot(edge: Edge) -> Iterator[None]:
    """One probe is hot; the alarm stands. Afterwards it is cold, and the condition is over."""
    probe = edge.bench.probes[0]
    probe.celsius = HOT
    try:
        edge.wait(lambda: edge.active(RULE, CHANNEL), 60, "over_temperature")
        yield
    finally:
        probe.celsius = WARM
    edge.wait(lambda: not edge.active(RULE, CHANNEL), 90, "over_temperature is over")


def acknowledged(edge: Edge) -> bool:
    edge.listen()
    return bool((edge.alarms.get((RULE, CHANNEL)) or edge.alarms[RULE, ""])["acknowledged"])


def person(edge: Edge, hold_s: float) -> Callable[[int], bool]:
    """Compares the numbers on phone and display, then presses the button for so long; says yes at the phone."""

    def answer(number: int) -> bool:
        shown = re.compile(rf"Does it show {number:06d}\?")
        until(lambda: shown.search("\n".join(edge.bench.rows)) is not None, 25, f"{number:06d} on the display")
        time.sleep(0.5)  # to read it
        edge.bench.pi.gpio.drive(BUTTON, 0)
        time.sleep(hold_s)
        edge.bench.pi.gpio.undrive(BUTTON)
        return True

    return answer


def answer_to(phone: Phone) -> int:
    """The ATT error of acknowledging what the phone reads now."""
    try:
        phone.write(ACKNOWLEDGE, phone.read(ALARM)[:TOKEN])
    except ATT_Error as error:
        return int(error.error_code)
    return TAKEN


def come_back(phone: Phone) -> None:
    """A bonded phone connects and encrypts; like a real one it tries twice."""
    phone.disconnect()
    try:
        phone.connect(encrypt=True)
    except Exception:
        phone.disconnect()
        phone.connect(encrypt=True)


def test_it_is_advertised_to_phones_and_to_home_assistant(anna: Phone) -> None:
    anna.scan(lambda data: bytes.fromhex(SERVICE.replace("-", ""))[::-1] in data, 120)
    warm = struct.pack("<Bh", 0x02, round(WARM * 100))
    anna.scan(lambda data: BEACON in data and warm in data, 60)


def test_a_stranger_reads_and_is_notified_but_may_not_acknowledge(edge: Edge, anna: Phone) -> None:
    anna.connect()
    assert int.from_bytes(anna.read(TEMPERATURE), "little", signed=True) == round(WARM * 100)
    assert anna.read(MODEL) == b"Raspberry Pi 5 Model B Rev 1.0"
    anna.subscribe(SUMMARY)
    with hot(edge):
        anna.notified(SUMMARY, lambda value: value[1] == 3 and value[3] >= 1, 20)
        assert b"over_temperature" in anna.read(ALARM)
        assert answer_to(anna) in NOT_PAIRED
        assert not acknowledged(edge)


def test_a_phone_that_cannot_compare_numbers_does_not_pair(edge: Edge) -> None:
    simple = edge.bench.pi.air.phone("C0:C1:C2:C3:C4:03", io=PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT)
    simple.connect()
    try:
        with pytest.raises(ProtocolError):
            simple.pair(40)
        assert not simple.encrypted
    finally:
        simple.disconnect()


def test_no_at_the_display_keeps_a_phone_out(edge: Edge, ben: Phone) -> None:
    ben.connect()
    ben.agrees = person(edge, hold_s=1.6)
    with pytest.raises(ProtocolError):
        ben.pair(45)
    assert not ben.encrypted
    ben.disconnect()


def test_yes_at_the_display_lets_a_phone_acknowledge(edge: Edge, anna: Phone) -> None:
    anna.agrees = person(edge, hold_s=0.3)
    anna.pair(60)
    assert anna.numbers
    with hot(edge):
        assert answer_to(anna) == TAKEN
        edge.wait(lambda: acknowledged(edge), 10, "acknowledged")
        edge.wait(
            lambda: any(
                e["type"] == "acknowledged" and e["by"] == "C0:C1:C2:C3:C4:01@bluetooth" for _, e in edge.events
            ),
            10,
            "the event that names the phone",
        )


def test_a_bonded_phone_comes_back(edge: Edge, anna: Phone) -> None:
    come_back(anna)
    assert anna.encrypted
    with hot(edge):
        assert answer_to(anna) == TAKEN
        edge.wait(lambda: acknowledged(edge), 10, "acknowledged")


def test_two_phones_at_once(edge: Edge, anna: Phone, ben: Phone) -> None:
    ben.connect()
    ben.agrees = person(edge, hold_s=0.3)
    ben.pair(60)
    for phone in (anna, ben):
        phone.subscribe(ALARM)
    with hot(edge):
        for phone in (anna, ben):
            phone.notified(ALARM, lambda value: len(value) >= TOKEN and value[16] == 3, 20)
        assert answer_to(ben) == TAKEN
        edge.wait(lambda: acknowledged(edge), 10, "acknowledged")
    assert anna.connected
    assert ben.connected


def test_bluez_started_again_everything_is_there_again(edge: Edge, anna: Phone) -> None:
    edge.bench.pi.machine.run(RESTART)
    anna.disconnect()
    anna.scan(lambda data: bytes.fromhex(SERVICE.replace("-", ""))[::-1] in data, 60)
    come_back(anna)
    assert int.from_bytes(anna.read(TEMPERATURE), "little", signed=True) == round(WARM * 100)
    with hot(edge):
        assert answer_to(anna) == TAKEN
