"""The USB devices as a kernel sees them: the wire of USB/IP, descriptors, requests of i2c-tiny-usb and hid-cp2112."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.hardware.board.bus import I2cBus
from tests.hardware.board.cp2112 import GET_REPORT, GPIO_CONFIG, GPIO_GET, GPIO_SET, SET_REPORT, VERSION, Cp2112
from tests.hardware.board.pcf8574 import Pcf8574
from tests.hardware.board.tiny_usb import ACKNOWLEDGED, FUNCTIONALITY, NOT_ACKNOWLEDGED, STATUS, TRANSFER, TinyUsb
from tests.hardware.board.usbip import CONFIGURATION, DEVICE, HID_REPORT, STRING, Port, UsbDevice, receive

SUBMIT, UNLINK = 1, 2
GET_DESCRIPTOR = 6
DEVICE_IN, VENDOR_OUT, VENDOR_IN, HID_IN, HID_OUT, INTERFACE_IN = 0x80, 0x41, 0xC1, 0xA1, 0x21, 0x81


@dataclass
class Host:
    """The kernel's side of the wire, written from the protocol's document alone."""

    link: socket.socket
    number: int = 0
    device: int = 0x10002

    def submit(self, request_type: int, request: int, value: int, index: int, length: int, data: bytes = b"") -> int:
        self.number += 1
        to_host = request_type >> 7
        header = struct.pack(">IIIII", SUBMIT, self.number, self.device, to_host, 0)
        setup = struct.pack("<BBHHH", request_type, request, value, index, length)
        self.link.sendall(header + struct.pack(">Iiiii", 0, length, 0, 0, 0) + setup + data)
        return self.number

    def answer(self, to_host: bool = True) -> tuple[int, int, bytes]:
        """Sequence number, status, data."""
        command, number, _, _, _ = struct.unpack(">5I", receive(self.link, 20))
        assert command == 3
        status, actual, _, _, _ = struct.unpack(">5i", receive(self.link, 28)[:20])
        return number, status, receive(self.link, actual) if to_host else b""

    def control(
        self, request_type: int, request: int, value: int = 0, index: int = 0, length: int = 0, data: bytes = b""
    ) -> tuple[int, bytes]:
        sent = self.submit(request_type, request, value, index, length or len(data), data)
        number, status, answer = self.answer(bool(request_type & 0x80))
        assert number == sent
        return status, answer

    def unlink(self, number: int) -> int:
        """Give a request up; the status."""
        self.number += 1
        self.link.sendall(struct.pack(">IIIII", UNLINK, self.number, self.device, 0, 0) + struct.pack(">I24x", number))
        command, _, _, _, _ = struct.unpack(">5I", receive(self.link, 20))
        assert command == 4
        return int(struct.unpack(">i", receive(self.link, 28)[:4])[0])


@dataclass
class Bench:
    bus: I2cBus = field(default_factory=lambda: I2cBus([Pcf8574()]))
    gpio: Cp2112 = field(default_factory=Cp2112)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def plug(device: UsbDevice) -> Iterator[Host]:
    port = Port(device)
    with socket.create_connection(("127.0.0.1", port.number), timeout=5) as link:
        yield Host(link)
    port.close()


@pytest.fixture
def tiny(bench: Bench) -> Iterator[Host]:
    yield from plug(TinyUsb(bench.bus))


@pytest.fixture
def gpio(bench: Bench) -> Iterator[Host]:
    yield from plug(bench.gpio)


def test_a_kernel_learns_what_the_device_is(tiny: Host) -> None:
    status, data = tiny.control(DEVICE_IN, GET_DESCRIPTOR, DEVICE << 8, 0, 18)
    assert (status, len(data), data[8:12]) == (0, 18, bytes.fromhex("030431c6"))
    _, head = tiny.control(DEVICE_IN, GET_DESCRIPTOR, CONFIGURATION << 8, 0, 9)
    (total,) = struct.unpack("<H", head[2:4])
    _, whole = tiny.control(DEVICE_IN, GET_DESCRIPTOR, CONFIGURATION << 8, 0, 255)
    assert len(whole) == total
    _, name = tiny.control(DEVICE_IN, GET_DESCRIPTOR, STRING << 8 | 2, 0x409, 255)
    assert name[2:].decode("utf-16le") == "virtual TinyUsb"
    assert tiny.control(DEVICE_IN, GET_DESCRIPTOR, HID_REPORT << 8, 0, 255)[0] == -errno.EPIPE


def test_i2c_transfers_reach_the_bus_and_the_status_tells(tiny: Host, bench: Bench) -> None:
    _, functionality = tiny.control(VENDOR_IN, FUNCTIONALITY, 0, 0, 4)
    assert struct.unpack("<I", functionality)[0] & 1  # I2C_FUNC_I2C
    assert tiny.control(VENDOR_OUT, TRANSFER | 3, 0, 0x27, 1, b"\x08") == (0, b"")
    assert tiny.control(VENDOR_IN, STATUS, 0, 0, 1) == (0, bytes([ACKNOWLEDGED]))
    assert tiny.control(VENDOR_IN, TRANSFER | 3, 1, 0x27, 1) == (0, b"\x00")
    bench.bus.unplug(0x27)
    tiny.control(VENDOR_IN, TRANSFER | 3, 1, 0x27, 1)
    assert tiny.control(VENDOR_IN, STATUS, 0, 0, 1) == (0, bytes([NOT_ACKNOWLEDGED]))


def test_a_held_bus_leaves_the_kernel_waiting_until_it_gives_up(tiny: Host, bench: Bench) -> None:
    bench.bus.held = True
    open_request = tiny.submit(VENDOR_IN, TRANSFER | 3, 1, 0x27, 1)
    assert tiny.unlink(open_request) == -errno.ECONNRESET
    assert tiny.unlink(open_request) == 0  # nothing of that number is open any more
    bench.bus.held = False
    assert tiny.control(VENDOR_IN, TRANSFER | 3, 1, 0x27, 1)[0] == 0


def test_lines_are_driven_and_read_through_reports(gpio: Host, bench: Bench) -> None:
    assert gpio.control(HID_IN, GET_REPORT, 3 << 8 | VERSION, 0, 3) == (0, b"\x05\x0c\x02")
    assert gpio.control(HID_OUT, SET_REPORT, 3 << 8 | GPIO_CONFIG, 0, 5, bytes([GPIO_CONFIG, 0x10, 0x10, 0, 0]))[0] == 0
    for level in (0, 1):
        gpio.control(HID_OUT, SET_REPORT, 3 << 8 | GPIO_SET, 0, 3, bytes([GPIO_SET, level << 4, 0x10]))
        assert bench.gpio.wait(4, bool(level), 1)
    assert not bench.gpio.lit(3)  # an input, though its pull-up makes it high
    bench.gpio.drive(3, 0)
    assert gpio.control(HID_IN, GET_REPORT, 3 << 8 | GPIO_GET, 0, 2) == (0, bytes([GPIO_GET, 0xF7]))
    bench.gpio.undrive(3)
    bench.gpio.drive(4, 0)  # in vain: the machine drives this one
    assert gpio.control(HID_IN, GET_REPORT, 3 << 8 | GPIO_GET, 0, 2) == (0, bytes([GPIO_GET, 0xFF]))


def test_the_report_descriptor_has_every_report_with_its_length(gpio: Host) -> None:
    status, items = gpio.control(INTERFACE_IN, GET_DESCRIPTOR, HID_REPORT << 8, 0, 255)
    lengths, number, count, place = {}, 0, 0, 0
    while place < len(items):
        head = items[place]
        size = (0, 1, 2, 4)[head & 3]
        value = int.from_bytes(items[place + 1 : place + 1 + size], "little")
        if head == 0x85:
            number = value
        elif head == 0x95:
            count = value
        elif head in (0xB1, 0x81, 0x91):
            lengths[number] = count
        place += 1 + size
    assert status == 0
    # hid-cp2112.c: sizes of its report structures less the number
    wanted = {0x02: 4, 0x03: 1, 0x04: 2, 0x05: 2, 0x06: 13, 0x13: 63, 0x14: 63, 0x16: 6, 0x20: 1, 0x21: 9}
    assert lengths == wanted


def test_an_unplugged_device_can_be_plugged_in_again(bench: Bench) -> None:
    port = Port(TinyUsb(bench.bus))
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port.number), timeout=5) as link:
            host = Host(link)
            assert host.control(VENDOR_IN, FUNCTIONALITY, 0, 0, 4)[0] == 0
            port.unplug()
            assert link.recv(1) == b""
    port.close()
