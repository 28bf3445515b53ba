"""Masters for tests without a kernel: the bus object that a Blinka driver takes, and the one that an smbus2 user opens.

Errors are those of a Raspberry Pi's kernel: EREMOTEIO (121): nobody acknowledges; ETIMEDOUT (110): the bus is held.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tests.hardware.board.bus import BusHeld, I2cBus, NoAcknowledge

if TYPE_CHECKING:
    from smbus2 import i2c_msg

READ = 0x0001  # I2C_M_RD of linux/i2c.h


def write(bus: I2cBus, address: int, data: bytes) -> None:
    """Raises OSError with the kernel's number."""
    try:
        bus.write(address, data)
    except (NoAcknowledge, BusHeld) as error:
        raise kernel_error(error) from error


def read(bus: I2cBus, address: int, n: int) -> bytes:
    """Raises OSError with the kernel's number."""
    try:
        return bus.read(address, n)
    except (NoAcknowledge, BusHeld) as error:
        raise kernel_error(error) from error


def kernel_error(error: Exception) -> OSError:
    number = errno.ETIMEDOUT if isinstance(error, BusHeld) else errno.EREMOTEIO
    return OSError(number, os.strerror(number))


class BlinkaI2C:
    """What `adafruit_extended_bus.ExtendedI2C(n)` or `board.I2C()` is to a CircuitPython driver."""

    def __init__(self, bus: I2cBus) -> None:
        self.bus = bus
        self._locked = False

    def try_lock(self) -> bool:
        if self._locked:
            return False
        self._locked = True
        return True

    def unlock(self) -> None:
        self._locked = False

    def deinit(self) -> None:
        self._locked = False

    def scan(self) -> list[int]:
        found = []
        for address in range(0x08, 0x78):
            try:
                read(self.bus, address, 1)
            except OSError:
                continue
            found.append(address)
        return found

    def writeto(
        self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None, stop: bool = True
    ) -> None:
        write(self.bus, address, bytes(buffer[start:end]))

    def readfrom_into(
        self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None, stop: bool = True
    ) -> None:
        place = range(*slice(start, end).indices(len(buffer)))
        buffer[place.start : place.stop] = read(self.bus, address, len(place))

    def writeto_then_readfrom(
        self,
        address: int,
        buffer_out: bytes,
        buffer_in: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
        stop: bool = False,
    ) -> None:
        self.writeto(address, buffer_out, start=out_start, end=out_end)
        self.readfrom_into(address, buffer_in, start=in_start, end=in_end)


class SMBus:
    """What `smbus2.SMBus(n)` is to its users: SMBus calls and plain transfers."""

    def __init__(self, bus: I2cBus) -> None:
        self.bus = bus

    def __enter__(self) -> "SMBus":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    def write_quick(self, i2c_addr: int, force: bool | None = None) -> None:
        write(self.bus, i2c_addr, b"")

    def write_byte(self, i2c_addr: int, value: int, force: bool | None = None) -> None:
        write(self.bus, i2c_addr, bytes([value]))

    def read_byte(self, i2c_addr: int, force: bool | None = None) -> int:
        return read(self.bus, i2c_addr, 1)[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int, force: bool | None = None) -> None:
        write(self.bus, i2c_addr, bytes([register, value]))

    def read_byte_data(self, i2c_addr: int, register: int, force: bool | None = None) -> int:
        return self.read_i2c_block_data(i2c_addr, register, 1)[0]

    def write_word_data(self, i2c_addr: int, register: int, value: int, force: bool | None = None) -> None:
        write(self.bus, i2c_addr, bytes([register]) + value.to_bytes(2, "little"))

    def read_word_data(self, i2c_addr: int, register: int, force: bool | None = None) -> int:
        return int.from_bytes(self.read_i2c_block_data(i2c_addr, register, 2), "little")

    def write_i2c_block_data(
        self, i2c_addr: int, register: int, data: Sequence[int], force: bool | None = None
    ) -> None:
        write(self.bus, i2c_addr, bytes([register, *data]))

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int, force: bool | None = None) -> list[int]:
        write(self.bus, i2c_addr, bytes([register]))
        return list(read(self.bus, i2c_addr, length))

    def i2c_rdwr(self, *i2c_msgs: "i2c_msg") -> None:
        self._transfer(i2c_msgs)

    def _transfer(self, messages: Iterable["i2c_msg"]) -> None:
        for message in messages:
            if message.flags & READ:
                for index, byte in enumerate(read(self.bus, message.addr, message.len)):
                    message.buf[index] = byte
            else:
                write(self.bus, message.addr, bytes(message.buf[: message.len]))
