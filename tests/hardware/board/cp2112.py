"""CP2112: a USB chip with eight GPIO lines of which the kernel's hid-cp2112 makes a gpiochip with edge events.

Source: Linux drivers/hid/hid-cp2112.c; Silicon Labs AN495 (report numbers and layouts).
"""

import struct
import threading
from typing import Final

from tests.hardware.board.usbip import TO_HOST, Stall, UsbDevice

GPIO_CONFIG, GPIO_GET, GPIO_SET, VERSION, SMBUS_CONFIG, CANCEL, USB_CONFIG = 0x02, 0x03, 0x04, 0x05, 0x06, 0x20, 0x21
GET_REPORT, SET_REPORT = 1, 9
PART, FIRMWARE = 0x0C, 2


def _report(number: int, length: int, kind: int) -> bytes:
    """HID items of one report of `length` bytes (kind: 0xB1 feature, 0x81 in, 0x91 out)."""
    return bytes([0x85, number, 0x95, length, 0x09, 0x01, kind, 0x02])


FEATURE, IN, OUT = 0xB1, 0x81, 0x91
LENGTHS: Final = {GPIO_CONFIG: 4, GPIO_GET: 1, GPIO_SET: 2, VERSION: 2, SMBUS_CONFIG: 13, CANCEL: 1, USB_CONFIG: 9}


class Cp2112(UsbDevice):
    """Eight lines. Outside: `lit(line)` is what an LED on it shows, `drive(line, 0 or 1)` sets from outside (a button),
    `undrive(line)` lets go (the pull-up makes it 1), `press(line, looks)` is a finger. `changes` counts what the
    machine has written."""

    vendor, product, interface_class, endpoints = 0x10C4, 0xEA90, 3, (0x81, 0x01)
    report_descriptor = (
        bytes.fromhex("0600ff 0901 a101 1500 26ff00 7508")
        + b"".join(_report(number, length, FEATURE) for number, length in LENGTHS.items())
        + _report(0x13, 63, IN)
        + _report(0x16, 6, IN)
        + _report(0x14, 63, OUT)
        + b"\xc0"
    )

    def __init__(self) -> None:
        self.changes = 0
        self._looks = 0
        self._outputs = 0  # bit = 1: the machine drives the line
        self._push_pull = 0
        self._latch = 0xFF
        self._outside = 0xFF
        self._changed = threading.Condition()

    def lit(self, line: int) -> bool:
        """Whether the machine drives it high; the pull-up of a line that nobody drives lights nothing."""
        return bool(self._latch & self._outputs & 1 << line)

    def drive(self, line: int, level: int) -> None:
        """From outside, as a button to ground does."""
        self._outside = self._outside & ~(1 << line) | level << line

    def undrive(self, line: int) -> None:
        self.drive(line, 1)

    def press(self, line: int, looks: int, timeout_s: float) -> None:
        """Low until the machine has looked so often: who waits for edges, each 40 ms (hid-cp2112's own time), who
        reads the line, whenever it does.

        Raises:
            TimeoutError: it does not look.
        """
        with self._changed:
            wanted = self._looks + looks
            self.drive(line, 0)
            looked = self._changed.wait_for(lambda: self._looks >= wanted, timeout_s)
        self.undrive(line)
        if not looked:
            raise TimeoutError(f"line {line} was not read {looks} times in {timeout_s} s")

    def wait(self, line: int, lit: bool, timeout_s: float) -> bool:
        """Until it is lit, or dark; False after the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.lit(line) is lit, timeout_s)

    def control(self, request_type: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes:
        number = value & 0xFF
        if request == GET_REPORT and request_type & TO_HOST:
            return self._get(number)
        if request == SET_REPORT and not request_type & TO_HOST and number in LENGTHS:
            self._set(number, data)
            return b""
        raise Stall

    def _get(self, number: int) -> bytes:
        if number == GPIO_CONFIG:
            return bytes([number, self._outputs, self._push_pull, 0, 0])
        if number == GPIO_GET:
            with self._changed:
                self._looks += 1
                self._changed.notify_all()
            return bytes([number, self._levels()])
        if number == VERSION:
            return bytes([number, PART, FIRMWARE])
        if number == SMBUS_CONFIG:
            return bytes([number]) + struct.pack(">IBBHHBH", 100_000, 2, 0, 0, 0, 0, 1)
        if number == CANCEL:
            return bytes([number, 0])
        if number == USB_CONFIG:
            return bytes([number]) + struct.pack("<HHBBBBB", self.vendor, self.product, 50, 0, 1, 0, 0)
        raise Stall

    def _set(self, number: int, data: bytes) -> None:
        with self._changed:
            if number == GPIO_CONFIG:
                self._outputs, self._push_pull = data[1], data[2]
            elif number == GPIO_SET:
                self._latch = self._latch & ~data[2] | data[1] & data[2]
                self.changes += 1
            self._changed.notify_all()

    def _levels(self) -> int:
        return self._latch & self._outputs | self._outside & ~self._outputs & 0xFF
