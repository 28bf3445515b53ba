"""Phones at the virtual Pi: real BlueZ, the real kernel, our alert service, a person at display and button.

The tests are one story, in the order of the file: Anna's phone is a stranger, pairs, goes, comes back; Ben's joins it.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from bumble.att import ATT_Error
from bumble.core import ProtocolError
from bumble.hci import Address
from bumble.pairing import PairingDelegate

from services.alert.outputs.ble.attributes import ours
from services.alert.outputs.ble.bthome import INFORMATION
from tests.hardware.edge import BUTTON, LONG, OVER_VOLTAGE, SHORT, Edge, acknowledge_all, log, overcharged, stands_still
from tests.hardware.rig.phone import PI, Phone

pytestmark = pytest.mark.rig
SERVICE, SUMMARY, ALARM, ACKNOWLEDGE = (ours(n) for n in (1, 2, 3, 5))
TEMPERATURE, MODEL = 0x2A6E, 0x2A24
TOKEN: Final = 20
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
    acknowledge_all(edge)
    phone = edge.bench.pi.air.phone("C0:C1:C2:C3:C4:01")
    yield phone
    phone.disconnect()


@pytest.fixture(scope="module")
def ben(edge: Edge) -> Iterator[Phone]:
    phone = edge.bench.pi.air.phone("C0:C1:C2:C3:C4:02")
    yield phone
    phone.disconnect()


def person(edge: Edge, looks: int) -> Callable[[int], bool]:
    """Compares the numbers on phone and display, then presses the button for so long; says yes at the phone."""

    def answer(number: int) -> bool:
        bench, shown = edge.bench, re.compile(rf"Does it show {number:06d}\?")
        bench.wait(lambda: shown.search("\n".join(bench.rows)) is not None, 25, f"{number:06d} on the display")
        log("\n".join([f"the phone shows {number:06d}, the display:", *bench.rows]))
        bench.pi.machine.run("sleep 0.5")  # to read it
        bench.pi.gpio.press(BUTTON, looks, 20 * bench.pi.machine.patience)
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


def hundredths(edge: Edge) -> int:
    """The probes' temperature [0.01 degC]."""
    return round(edge.bench.probes[0].celsius * 100)


@pytest.mark.core
def test_it_is_advertised_to_phones_and_to_home_assistant(edge: Edge, anna: Phone) -> None:
    anna.scan(lambda data: bytes.fromhex(SERVICE.replace("-", ""))[::-1] in data, 120)
    warm = struct.pack("<Bh", 0x02, hundredths(edge))
    anna.scan(lambda data: BEACON in data and warm in data, 60)
    assert set(anna.heard) == {str(Address(f"{PI}/P"))}  # by its address Home Assistant knows it again


@pytest.mark.core
def test_a_stranger_reads_and_is_notified_but_may_not_acknowledge(edge: Edge, anna: Phone) -> None:
    anna.connect()
    read = int.from_bytes(anna.read(TEMPERATURE), "little", signed=True)
    log(f"an unpaired phone reads {read / 100} degC")
    assert read == hundredths(edge)
    assert anna.read(MODEL) == b"Raspberry Pi 5 Model B Rev 1.0"
    anna.subscribe(SUMMARY)
    with overcharged(edge):
        summary = anna.notified(SUMMARY, lambda value: value[1] == 3 and value[3] >= 1, 20)
        log(f"it is notified: {summary.hex(' ')}")
        assert b"cell_over_voltage" in anna.read(ALARM)
        answer = answer_to(anna)
        log(f"it writes Acknowledge: refused with ATT error {answer:#04x}")
        assert answer in NOT_PAIRED
        edge.listen()
        assert not edge.acknowledged(*OVER_VOLTAGE)


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
    ben.agrees = person(edge, LONG)
    with pytest.raises(ProtocolError):
        ben.pair(45)
    assert not ben.encrypted
    ben.disconnect()


@pytest.mark.core
def test_yes_at_the_display_lets_a_phone_acknowledge(edge: Edge, anna: Phone) -> None:
    anna.agrees = person(edge, SHORT)
    anna.pair(60)
    assert anna.numbers
    with overcharged(edge):
        assert answer_to(anna) == TAKEN
        edge.wait(lambda: edge.acknowledged(*OVER_VOLTAGE), 10, "acknowledged")
        edge.wait(
            lambda: any(
                e["type"] == "acknowledged" and e["by"] == "C0:C1:C2:C3:C4:01@bluetooth" for _, e in edge.events
            ),
            10,
            "the event that names the phone",
        )
        log("the paired phone has acknowledged")
        edge.bench.wait(lambda: stands_still(edge.bench), 20, "the red light no longer blinks")
        edge.bench.wait(lambda: edge.bench.rows[3].endswith(" ACK"), 20, "the display says ACK")
        log("\n".join(["the display:", *edge.bench.rows]))


def test_a_bonded_phone_comes_back(edge: Edge, anna: Phone) -> None:
    come_back(anna)
    assert anna.encrypted
    assert len(anna.numbers) == 1  # no pairing again
    with overcharged(edge):
        assert answer_to(anna) == TAKEN
        edge.wait(lambda: edge.acknowledged(*OVER_VOLTAGE), 10, "acknowledged")


def test_two_phones_at_once(edge: Edge, anna: Phone, ben: Phone) -> None:
    ben.connect()
    ben.agrees = person(edge, SHORT)
    ben.pair(60)
    for phone in (anna, ben):
        phone.subscribe(ALARM)
    with overcharged(edge):
        for phone in (anna, ben):
            phone.notified(ALARM, lambda value: len(value) >= TOKEN and value[16] == 3, 20)
        assert answer_to(ben) == TAKEN
        edge.wait(lambda: edge.acknowledged(*OVER_VOLTAGE), 10, "acknowledged")
    assert anna.connected
    assert ben.connected


def test_bluez_started_again_everything_is_there_again(edge: Edge, anna: Phone) -> None:
    edge.bench.pi.machine.run(RESTART)
    anna.disconnect()
    anna.scan(lambda data: bytes.fromhex(SERVICE.replace("-", ""))[::-1] in data, 60)
    come_back(anna)
    assert int.from_bytes(anna.read(TEMPERATURE), "little", signed=True) == hundredths(edge)
    with overcharged(edge):
        assert answer_to(anna) == TAKEN
