"""Two BMS as they are over the air: what they advertise, and the frames of their protocols, byte by byte.

Written from the protocols (JBD general protocol v4; Daly's Modbus over UART), not from the plugins that read them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

ATT = 20  # bytes of a notification at the least MTU
KELVIN = 2731  # 0 degC in tenths


def uuid(short: str) -> str:
    return f"0000{short}-0000-1000-8000-00805f9b34fb"


@dataclass
class Battery:
    """What the BMS measures."""

    cells: list[float] = field(default_factory=lambda: [3.301, 3.302, 3.303, 3.304])  # V
    temperatures: list[float] = field(default_factory=lambda: [21.4, 22.0])  # degC
    board: float = 35.0  # degC, of its MOSFETs
    current: float = -12.3  # A, positive = charging
    soc: int = 87  # %
    cycles: int = 12
    protection: int = 0  # bits of the BMS's own protections

    @property
    def voltage(self) -> float:
        return sum(self.cells)


@dataclass
class Peripheral:
    """A BMS with Bluetooth.

    Attributes:
        damage: of each answer on its way: `corrupt` turns a bit, `cut` keeps its first half, `mute` drops it.
        password: of its own protocol; empty = it asks for none.
        asked: frames that were written to it.
    """

    address: str
    name: str
    battery: Battery = field(default_factory=Battery)
    damage: str = ""
    password: str = ""
    asked: list[bytes] = field(default_factory=list)
    notify: Callable[[str, bytes], None] = lambda uuid, data: None

    advertised: ClassVar[tuple[str, ...]]
    service: ClassVar[str]
    characteristics: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]]
    answers_on: ClassVar[str]

    def answer(self, frame: bytes) -> bytes | None:
        raise NotImplementedError

    def pieces(self, frame: bytes) -> Iterator[bytes]:
        for at in range(0, len(frame), ATT):
            yield frame[at : at + ATT]

    def written(self, data: bytes) -> None:
        self.asked.append(data)
        frame = self.answer(data)
        if frame is None or self.damage == "mute":
            return
        if self.damage == "corrupt":
            middle = len(frame) // 2
            frame = frame[:middle] + bytes([frame[middle] ^ 0x04]) + frame[middle + 1 :]
        if self.damage == "cut":
            frame = frame[: len(frame) // 2]
        for piece in self.pieces(frame):
            self.notify(self.answers_on, piece)


class Jbd(Peripheral):
    """JBD, Xiaoxiang, Overkill Solar: DD A5 command length data checksum 77; answers in pieces of 20 bytes."""

    service = uuid("ff00")
    advertised = (uuid("ff00"),)
    characteristics = ((uuid("ff01"), ("read", "notify")), (uuid("ff02"), ("read", "write-without-response")))
    answers_on = uuid("ff01")

    opened = False

    def answer(self, frame: bytes) -> bytes | None:
        if frame[:3] == b"\xff\xaa\x15":  # password; answered with 0 = right, 1 = wrong
            self.opened = frame[4:-1] == self.password.encode() and frame[-1] == sum(frame[2:-1]) & 0xFF
            body = bytes([0x15, 1, 0 if self.opened else 1])
            return b"\xff\xaa" + body + bytes([sum(body) & 0xFF])
        if self.password and not self.opened:
            return None
        if frame[:2] != b"\xdd\xa5" or frame[-1] != 0x77 or frame[-3:-1] != self.checksum(frame[2:-3]):
            return None
        battery, command = self.battery, frame[2]
        if command == 0x04:
            data = b"".join(round(volt * 1000).to_bytes(2, "big") for volt in battery.cells)
        elif command == 0x03:
            data = (
                round(battery.voltage * 100).to_bytes(2, "big")
                + round(battery.current * 100).to_bytes(2, "big", signed=True)
                + round(battery.soc * 100).to_bytes(2, "big")  # Ah left, of 100 Ah
                + (10_000).to_bytes(2, "big")
                + battery.cycles.to_bytes(2, "big")
                + bytes.fromhex("2f8c")  # made on
                + bytes(4)  # balancing
                + battery.protection.to_bytes(2, "big")
                + bytes([0x21, battery.soc, 0x03, len(battery.cells), len(battery.temperatures)])
                + b"".join(round(t * 10 + KELVIN).to_bytes(2, "big") for t in battery.temperatures)
            )
        else:
            return None
        body = bytes([0, len(data)]) + data
        return b"\xdd" + bytes([command]) + body + self.checksum(body) + b"\x77"

    @staticmethod
    def checksum(body: bytes) -> bytes:
        return (0x10000 - sum(body)).to_bytes(2, "big")


class Daly(Peripheral):
    """Daly smart BMS: Modbus at address D2, registers 0..61; an answer is one notification (its MTU is larger)."""

    service = uuid("fff0")
    advertised = (uuid("fff0"),)
    characteristics = ((uuid("fff1"), ("read", "notify")), (uuid("fff2"), ("read", "write", "write-without-response")))
    answers_on = uuid("fff1")

    def answer(self, frame: bytes) -> bytes | None:
        if len(frame) != 8 or frame[:2] != b"\xd2\x03" or self.crc(frame[:6]) != frame[6:]:
            return None
        first, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
        registers = self.registers()
        data = b"".join(registers.get(first + i, 0).to_bytes(2, "big") for i in range(count))
        head = bytes([0xD2, 0x03, len(data)]) + data
        return head + self.crc(head)

    def registers(self) -> dict[int, int]:
        battery = self.battery
        found = {i: round(volt * 1000) for i, volt in enumerate(battery.cells)}
        found |= {32 + i: round(t) + 40 for i, t in enumerate(battery.temperatures)}
        found |= {
            40: round(battery.voltage * 10),
            41: round(battery.current * 10) + 30_000,
            42: battery.soc * 10,
            48: battery.soc * 10,  # Ah left, in tenths, of 100 Ah
            49: len(battery.cells),
            50: len(battery.temperatures),
            51: battery.cycles,
            53: 1,
            54: 1,
            66: round(battery.board) + 40,
        }
        return found

    def pieces(self, frame: bytes) -> Iterator[bytes]:
        yield frame

    @staticmethod
    def crc(frame: bytes) -> bytes:
        crc = 0xFFFF
        for byte in frame:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        return crc.to_bytes(2, "little")
