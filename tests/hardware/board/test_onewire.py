"""DS18B20 models behind a DS2482: searched, read and broken as on a real wire."""

import pytest

from tests.hardware.board.ds2482 import (
    BIT,
    BUS_RESET,
    DATA,
    DEVICE_RESET,
    DIRECTION,
    PRESENCE,
    READ_BYTE,
    SECOND,
    SET_POINTER,
    SHORT,
    SINGLE_BIT,
    TRIPLET,
    WRITE_BYTE,
    WRITE_CONFIG,
    Ds2482,
)
from tests.hardware.board.onewire import (
    CONVERT,
    COPY,
    MATCH,
    READ_ROM,
    READ_SCRATCHPAD,
    SEARCH,
    SKIP,
    WRITE_SCRATCHPAD,
    Ds18b20,
    OneWireBus,
    crc8,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Master:
    """A user of the bridge at register level, as the data sheet has it."""

    def __init__(self, bridge: Ds2482) -> None:
        self.bridge = bridge
        assert bridge.write(bytes([DEVICE_RESET]))
        assert bridge.write(bytes([WRITE_CONFIG, 0xE1]))

    def reset(self) -> int:
        assert self.bridge.write(bytes([BUS_RESET]))
        return self.bridge.read(1)[0]

    def send(self, *data: int) -> None:
        for byte in data:
            assert self.bridge.write(bytes([WRITE_BYTE, byte]))

    def receive(self, n: int) -> bytes:
        got = bytearray()
        for _ in range(n):
            assert self.bridge.write(bytes([READ_BYTE]))
            assert self.bridge.write(bytes([SET_POINTER, DATA]))
            got += self.bridge.read(1)
        return bytes(got)

    def bit(self) -> int:
        assert self.bridge.write(bytes([SINGLE_BIT, 0x80]))
        return self.bridge.read(1)[0] & BIT

    def search(self) -> set[bytes]:
        """All ROM codes, by the data sheet's search with triplets."""
        found: set[bytes] = set()
        branches: list[list[int]] = [[]]
        while branches:
            way = branches.pop()
            if not self.reset() & PRESENCE:
                return found
            self.send(SEARCH)
            code: list[int] = []
            for n in range(64):
                wanted = way[n] if n < len(way) else 0
                assert self.bridge.write(bytes([TRIPLET, wanted << 7]))
                status = self.bridge.read(1)[0]
                if status & BIT and status & SECOND:
                    return found  # nobody left
                taken = 1 if status & DIRECTION else 0
                if not status & BIT and not status & SECOND and n >= len(way):
                    branches.append([*code, 1])
                code.append(taken)
            found.add(bytes(sum(code[8 * i + k] << k for k in range(8)) for i in range(8)))
        return found

    def temperature(self, rom: bytes | None = None) -> float:
        """Of one sensor. Raises ValueError: bad CRC."""
        self.reset()
        self.send(*((MATCH, *rom) if rom else (SKIP,)), READ_SCRATCHPAD)
        data = self.receive(9)
        if crc8(data):
            raise ValueError(data.hex())
        return int.from_bytes(data[:2], "little", signed=True) / 16

    def convert(self) -> None:
        self.reset()
        self.send(SKIP, CONVERT)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sensors(clock: Clock) -> list[Ds18b20]:
    return [Ds18b20("0000012345ab", 21.5, clock), Ds18b20("0000012345cd", -3.25, clock)]


@pytest.fixture
def wire(sensors: list[Ds18b20]) -> OneWireBus:
    return OneWireBus(sensors)


@pytest.fixture
def master(wire: OneWireBus) -> Master:
    return Master(Ds2482(wire))


def test_the_crc_is_maxims() -> None:
    assert crc8(bytes.fromhex("021CB801000000")) == 0xA2  # Maxim's application note 27


def test_a_search_finds_each_sensor(master: Master, sensors: list[Ds18b20]) -> None:
    assert master.search() == {sensor.rom for sensor in sensors}


def test_conversions_take_their_time_and_give_each_sensors_own_value(
    master: Master, sensors: list[Ds18b20], clock: Clock
) -> None:
    assert master.temperature(sensors[0].rom) == 85.0
    master.convert()
    assert not master.bit()
    clock.now += 0.74
    assert not master.bit()
    clock.now += 0.02
    assert master.bit()
    assert [master.temperature(sensor.rom) for sensor in sensors] == [21.5, -3.25]


def test_nine_bits_are_faster_and_coarser(master: Master, sensors: list[Ds18b20], clock: Clock) -> None:
    sensors[0].celsius = 21.8
    master.reset()
    master.send(MATCH, *sensors[0].rom, WRITE_SCRATCHPAD, 0, 0, 0x1F)
    master.convert()
    clock.now += 0.1
    assert master.temperature(sensors[0].rom) == 21.5
    sensors[0].power_on()
    assert sensors[0].bits == 12  # it was not copied to the EEPROM
    master.reset()
    master.send(MATCH, *sensors[0].rom, WRITE_SCRATCHPAD, 0, 0, 0x1F)
    master.reset()
    master.send(MATCH, *sensors[0].rom, COPY)
    sensors[0].power_on()
    assert sensors[0].bits == 9


def test_noise_gives_a_bad_crc_as_often_as_asked(master: Master, sensors: list[Ds18b20]) -> None:
    sensors[0].bad_crc = 1
    with pytest.raises(ValueError, match=r"^1005"):
        master.temperature(sensors[0].rom)
    assert master.temperature(sensors[0].rom) == 85.0


def test_a_brown_out_gives_the_power_on_value(master: Master, sensors: list[Ds18b20]) -> None:
    master.convert()
    sensors[0].powered = False
    assert master.search() == {sensors[1].rom}
    sensors[0].powered = True
    assert master.temperature(sensors[0].rom) == 85.0
    sensors[0].lost_conversions = 1
    master.convert()
    assert master.temperature(sensors[0].rom) == 85.0
    master.convert()
    assert master.temperature(sensors[0].rom) == 21.5


def test_a_pulled_sensor_reads_as_ones_and_returns(master: Master, sensors: list[Ds18b20]) -> None:
    sensors[0].present = False
    with pytest.raises(ValueError, match="^" + "ff" * 9):
        master.temperature(sensors[0].rom)
    sensors[0].present = True
    assert master.temperature(sensors[0].rom) == 85.0


def test_a_stuck_sensor_gives_its_value_whatever_the_temperature(master: Master, sensors: list[Ds18b20]) -> None:
    sensors[0].stuck = 400
    master.convert()
    assert master.temperature(sensors[0].rom) == 25.0


def test_an_empty_and_a_shorted_wire_are_told_apart(master: Master, wire: OneWireBus, sensors: list[Ds18b20]) -> None:
    assert master.reset() & (PRESENCE | SHORT) == PRESENCE
    wire.shorted = True
    assert master.reset() & (PRESENCE | SHORT) == SHORT
    assert master.receive(2) == b"\0\0"
    wire.shorted = False
    for sensor in sensors:
        sensor.present = False
    assert master.reset() & (PRESENCE | SHORT) == 0


def test_a_lone_sensor_tells_its_code(clock: Clock) -> None:
    sensor = Ds18b20("0000012345ab", clock=clock)
    master = Master(Ds2482(OneWireBus([sensor])))
    master.reset()
    master.send(READ_ROM)
    assert master.receive(8) == sensor.rom
    assert sensor.rom[0] == 0x28
    assert sensor.name == "28-0000012345ab"


def test_what_the_bridge_does_not_know_it_refuses() -> None:
    bridge = Ds2482(OneWireBus([]))
    assert not bridge.write(b"\x42")
    assert not bridge.write(bytes([SET_POINTER, 0x11]))
    assert not bridge.write(bytes([WRITE_CONFIG, 0x11]))  # its upper half is no complement


def test_a_serial_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="12 hex digits"):
        Ds18b20("1234")
