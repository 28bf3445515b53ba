"""DS2482-100: an I2C chip that is the master of a 1-Wire bus; the kernel's ds2482 and w1_therm drive it.

Source: Maxim DS2482-100 data sheet (19-4930): commands, registers, status bits.
"""

from tests.hardware.board.onewire import OneWireBus

DEVICE_RESET, SET_POINTER, WRITE_CONFIG = 0xF0, 0xE1, 0xD2
BUS_RESET, SINGLE_BIT, WRITE_BYTE, READ_BYTE, TRIPLET = 0xB4, 0x87, 0xA5, 0x96, 0x78
STATUS, DATA, CONFIG = 0xF0, 0xE1, 0xC3  # registers
PRESENCE, SHORT, LINE, RESET, BIT, SECOND, DIRECTION = 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80  # bits of the status


class Ds2482:
    """The bridge; 1-Wire operations are over when the I2C transfer is, so its busy bit is never seen set."""

    def __init__(self, wire: OneWireBus, address: int = 0x18) -> None:
        self.address = address
        self.wire = wire
        self._pointer = STATUS
        self._config = 0
        self._data = 0
        self._status = RESET | LINE

    def power_on(self) -> None:
        self._pointer, self._config, self._status = STATUS, 0, RESET | LINE

    def write(self, data: bytes) -> bool:
        if not data:
            return True
        command, argument = data[0], data[1] if len(data) > 1 else 0
        if command == SET_POINTER:
            if argument not in (STATUS, DATA, CONFIG):
                return False
            self._pointer = argument
            return True
        if command == WRITE_CONFIG:
            if argument >> 4 ^ 0xF != argument & 0xF:
                return False  # the upper half must be the complement of the lower
            self._config, self._pointer = argument & 0xF, CONFIG
            self._status &= ~RESET
            return True
        self._pointer = STATUS
        if command == DEVICE_RESET:
            self.power_on()
        elif command == BUS_RESET:
            present = self.wire.reset()
            self._status = (
                self._status & RESET
                | (PRESENCE if present else 0)
                | (SHORT if self.wire.shorted else 0)
                | (0 if self.wire.shorted else LINE)
            )
        elif command == SINGLE_BIT:
            self._set(BIT, self.wire.slot(argument >> 7))
        elif command == WRITE_BYTE:
            for n in range(8):
                self.wire.slot(argument >> n & 1)
        elif command == READ_BYTE:
            self._data = sum(self.wire.slot(1) << n for n in range(8))
        elif command == TRIPLET:
            first, second = self.wire.slot(1), self.wire.slot(1)
            way = argument >> 7 if not first and not second else first
            self.wire.slot(way)
            self._set(BIT, first)
            self._set(SECOND, second)
            self._set(DIRECTION, way)
        else:
            return False
        return True

    def read(self, n: int) -> bytes:
        return bytes([{STATUS: self._status, DATA: self._data, CONFIG: self._config}[self._pointer]]) * n

    def _set(self, bit: int, on: int) -> None:
        self._status = self._status | bit if on else self._status & ~bit
