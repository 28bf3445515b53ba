"""A 1-Wire bus and DS18B20 thermometers on it, bit by bit.

Source: Maxim DS18B20 data sheet (19-7487): ROM commands, scratchpad, power-on value of 85 degC, conversion times.
"""

import struct
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final

Slot = Generator[int | None, int, None]  # yields None to listen (is sent the bit) or the bit that it pulls the line to

SEARCH, MATCH, SKIP, READ_ROM = 0xF0, 0x55, 0xCC, 0x33
CONVERT, READ_SCRATCHPAD, WRITE_SCRATCHPAD, COPY, RECALL, READ_POWER = 0x44, 0xBE, 0x4E, 0x48, 0xB8, 0xB4
WHETHER_DONE: Final = 2  # a slot in which it pulls the line while it converts
POWER_ON: Final = 85.0  # what the scratchpad holds until the first conversion [degC]
CONVERSION_S: Final = {9: 0.09375, 10: 0.1875, 11: 0.375, 12: 0.75}  # longest times of the data sheet, by bits


def crc8(data: bytes) -> int:
    """Maxim's 1-Wire CRC: x^8 + x^5 + x^4 + 1, least significant bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x8C if crc & 1 else 0)
    return crc


class Ds18b20:
    """One thermometer.

    Args:
        serial: 12 hex digits, most significant first, as in its name under /sys/bus/w1/devices: `28-0000012345ab`.
        celsius: the true temperature.
        clock: steady time [s].

    Faults, in effect until undone:
        present = False: its data wire is pulled; it answers no slot, not even the reset.
        powered = False, then True: it forgets its conversion and gives 85.0 until the next one.
        lost_conversions = n: the next n conversions do not happen (a brown-out): it keeps giving 85.0.
        bad_crc = n: the next n scratchpads are sent with one flipped bit (noise on a long wire).
        slow: conversions take that many times longer.
        stuck: a raw register value that every conversion gives, whatever the temperature.
        clone: byte 6 does not complete the temperature's last four bits to 16, as in most that are sold.
    """

    def __init__(self, serial: str, celsius: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        code = bytes([0x28]) + bytes.fromhex(serial)[::-1]
        if len(code) != 7:
            raise ValueError(f"serial {serial!r}: 12 hex digits")
        self.name = f"28-{serial}"
        self.rom = code + bytes([crc8(code)])
        self.celsius = celsius
        self.present = True
        self.lost_conversions = 0
        self.bad_crc = 0
        self.slow = 1.0
        self.stuck: int | None = None
        self.clone = False
        self.conversions = 0
        self._clock = clock
        self._busy_until = 0.0
        self._eeprom = bytes([0x4B, 0x46, 0x7F])  # high limit, low limit, 12 bits
        self._slots: Slot | None = None
        self._pulled: int | None = None
        self._powered = True
        self.power_on()

    @property
    def powered(self) -> bool:
        return self._powered

    @powered.setter
    def powered(self, powered: bool) -> None:
        if powered and not self._powered:
            self.power_on()
        self._powered = powered

    def power_on(self) -> None:
        """Forget the last conversion: 85.0 degC until the next."""
        self._scratchpad = bytearray(struct.pack("<h", round(POWER_ON * 16)) + self._eeprom + b"\xff\x0c\x10")
        self._busy_until = 0.0
        self._slots = None

    @property
    def bits(self) -> int:
        """Resolution that the master has set, 9..12."""
        return 9 + (self._scratchpad[4] >> 5 & 3)

    @property
    def answers(self) -> bool:
        return self.present and self.powered

    def reset(self) -> None:
        """The master's reset pulse: whatever was going on ends."""
        self._slots = self._dialogue()
        self._pulled = next(self._slots)

    def slot(self, bit: int) -> int:
        """One time slot in which the master writes `bit` (1 to read); what this chip leaves of it."""
        if self._slots is None:
            return 1
        pulled = self._pulled
        if pulled == WHETHER_DONE:
            pulled = int(self._clock() >= self._busy_until)
        try:
            self._pulled = self._slots.send(bit if pulled is None else bit & pulled)
        except StopIteration:
            self._slots = None
        return 1 if pulled is None else pulled

    def _dialogue(self) -> Slot:
        command = yield from _listen()
        if command == READ_ROM:
            yield from _say(self.rom)
        elif command == MATCH:
            for wanted in _bits(self.rom):
                if (yield from _listen_bit()) != wanted:
                    return
        elif command == SEARCH:
            for own in _bits(self.rom):
                yield own
                yield 1 - own
                if (yield from _listen_bit()) != own:
                    return
            return
        elif command != SKIP:
            return
        yield from self._function((yield from _listen()))

    def _function(self, command: int) -> Slot:
        if command == CONVERT:
            self._convert()
            while True:
                yield WHETHER_DONE
        elif command == READ_SCRATCHPAD:
            sent = bytearray(self._scratchpad)
            sent.append(crc8(bytes(sent)))
            if self.bad_crc:
                self.bad_crc -= 1
                sent[0] ^= 0x40
            yield from _say(bytes(sent))
        elif command == WRITE_SCRATCHPAD:
            for place in (2, 3, 4):
                byte = yield from _listen()
                self._scratchpad[place] = byte if place < 4 else byte & 0x60 | 0x1F
        elif command == COPY:
            self._eeprom = bytes(self._scratchpad[2:5])
        elif command == RECALL:
            self._scratchpad[2:5] = self._eeprom
        elif command == READ_POWER:
            while True:
                yield 1  # a supply of its own: not parasite-powered

    def _convert(self) -> None:
        self.conversions += 1
        self._busy_until = self._clock() + CONVERSION_S[self.bits] * self.slow
        if self.lost_conversions:
            self.lost_conversions -= 1
            self._scratchpad[:2] = struct.pack("<h", round(POWER_ON * 16))
            self._scratchpad[6] = 0x0C
            return
        raw = round(min(125.0, max(-55.0, self.celsius)) * 16) if self.stuck is None else self.stuck
        raw &= -1 << (12 - self.bits)
        self._scratchpad[:2] = struct.pack("<h", raw)
        self._scratchpad[6] = 0x0C if self.clone else 0x10 - (raw & 0x0F)


class OneWireBus:
    """Thermometers on one data line.

    Faults: `shorted` = True: the line is held low: no reset is answered, every bit reads 0.
    """

    def __init__(self, chips: Iterable[Ds18b20]) -> None:
        self.chips: Sequence[Ds18b20] = list(chips)
        self.shorted = False

    def reset(self) -> bool:
        """A reset pulse; whether anybody answered it."""
        present = [chip for chip in self.chips if chip.answers]
        for chip in present:
            chip.reset()
        return bool(present) and not self.shorted

    def slot(self, bit: int) -> int:
        """One time slot: the line is low if anybody pulls it."""
        for chip in self.chips:
            if chip.answers:
                bit &= chip.slot(bit)
        return 0 if self.shorted else bit


def _bits(data: bytes) -> list[int]:
    return [byte >> n & 1 for byte in data for n in range(8)]


def _listen_bit() -> Generator[int | None, int, int]:
    return (yield None)


def _listen() -> Generator[int | None, int, int]:
    byte = 0
    for n in range(8):
        byte |= (yield None) << n
    return byte


def _say(data: bytes) -> Slot:
    for bit in _bits(data):  # noqa: UP028 (a list's iterator cannot be sent what the line was)
        yield bit
