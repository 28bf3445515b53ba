"""i2c-tiny-usb: a USB to I2C adapter of which the kernel's own driver makes /dev/i2c-N with plain I2C transfers.

Source: Linux drivers/i2c/busses/i2c-tiny-usb.c and the adapter's firmware by Till Harbaum: commands and status.
"""

import struct
from typing import Final

from tests.hardware.board.bus import BusHeld, I2cBus, NoAcknowledge
from tests.hardware.board.usbip import TO_HOST, Silence, Stall, UsbDevice

FUNCTIONALITY, DELAY, STATUS, TRANSFER = 1, 2, 3, 4  # | 1 begins, | 2 ends a transfer
I2C_AND_SMBUS: Final = 0x0EFF0009  # I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL
ACKNOWLEDGED, NOT_ACKNOWLEDGED = 1, 2


class TinyUsb(UsbDevice):
    """The adapter in front of a bus. While the bus is held it answers no transfer: the kernel waits 2 s and fails."""

    vendor, product, release = 0x0403, 0xC631, 0x0201

    def __init__(self, bus: I2cBus) -> None:
        self.bus = bus
        self._status = 0

    def control(self, request_type: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes:
        if request == FUNCTIONALITY:
            return struct.pack("<I", I2C_AND_SMBUS)
        if request == DELAY:
            return b""
        if request == STATUS:
            return bytes([self._status])
        if not request & TRANSFER:
            raise Stall
        try:
            if request_type & TO_HOST:
                answer = self.bus.read(index, length)
            else:
                answer = b""
                self.bus.write(index, data)
            self._status = ACKNOWLEDGED
        except NoAcknowledge:
            self._status = NOT_ACKNOWLEDGED
            return bytes(length) if request_type & TO_HOST else b""
        except BusHeld as error:
            raise Silence from error
        return answer
