"""The bus and its masters: what a driver sees of chips, pulled wires and a bus that is held."""

import errno

import pytest
from smbus2 import i2c_msg

from tests.hardware.board.bus import I2cBus
from tests.hardware.board.masters import BlinkaI2C, SMBus


class Memory:
    """A chip of 256 bytes with a pointer, as an EEPROM."""

    def __init__(self, address: int) -> None:
        self.address = address
        self.bytes = bytearray(256)
        self.pointer = 0

    def write(self, data: bytes) -> bool:
        if data:
            self.pointer = data[0]
            self.bytes[self.pointer : self.pointer + len(data) - 1] = data[1:]
        return True

    def read(self, n: int) -> bytes:
        return bytes(self.bytes[self.pointer : self.pointer + n])


@pytest.fixture
def bus() -> I2cBus:
    return I2cBus([Memory(0x50), Memory(0x51)])


def test_a_blinka_driver_writes_and_reads_parts_of_its_buffers(bus: I2cBus) -> None:
    i2c = BlinkaI2C(bus)
    assert i2c.try_lock()
    assert not i2c.try_lock()
    i2c.writeto(0x50, b"\xff\x10abc\xff", start=1, end=5)
    got = bytearray(5)
    i2c.writeto_then_readfrom(0x50, b"\x10", got, in_start=1, in_end=4)
    assert got == b"\0abc\0"
    i2c.unlock()
    assert i2c.try_lock()
    assert i2c.scan() == [0x50, 0x51]


def test_an_smbus_user_gets_bytes_words_blocks_and_plain_transfers(bus: I2cBus) -> None:
    with SMBus(bus) as smbus:
        smbus.write_word_data(0x50, 4, 0x1234)
        assert smbus.read_i2c_block_data(0x50, 4, 2) == [0x34, 0x12]
        assert smbus.read_word_data(0x50, 4) == 0x1234
        smbus.write_byte_data(0x51, 0, 7)
        smbus.write_byte(0x51, 0)
        assert smbus.read_byte(0x51) == 7
        ask, answer = i2c_msg.write(0x50, [4]), i2c_msg.read(0x50, 2)
        smbus.i2c_rdwr(ask, answer)
        assert bytes(answer) == b"\x34\x12"


def test_faults_have_the_kernels_numbers_and_end(bus: I2cBus) -> None:
    smbus = SMBus(bus)

    def error() -> int | None:
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            smbus.read_byte(0x50)
        return caught.value.errno

    bus.unplug(0x50)
    assert error() == errno.EREMOTEIO
    assert smbus.read_byte(0x51) == 0
    bus.plug(0x50)
    assert smbus.read_byte(0x50) == 0
    bus.held = True
    assert error() == errno.ETIMEDOUT
    bus.held = False
    bus.refuse(0x50, 2)
    assert (error(), error()) == (errno.EREMOTEIO, errno.EREMOTEIO)
    assert smbus.read_byte(0x50) == 0


def test_two_chips_cannot_have_one_address(bus: I2cBus) -> None:
    with pytest.raises(ValueError, match="0x50 is taken"):
        bus.add(Memory(0x50))
    with pytest.raises(KeyError):
        bus.unplug(0x20)
