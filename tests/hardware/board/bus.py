"""An I2C bus at register level: chips by address, and the ways in which a wire fails.

The same chips serve two masters: `masters.py` (what Blinka and smbus2 users hold, no kernel) and `tiny_usb.py` (a USB
adapter that a Linux kernel makes /dev/i2c-N of).
"""

import threading
import time
from collections.abc import Iterable
from typing import Protocol


class Chip(Protocol):
    """One chip on the bus.

    Attributes:
        address: 7 bits, 0x08..0x77.
    """

    address: int

    def write(self, data: bytes) -> bool:
        """A write transfer (empty: only asks whether anybody is there); return whether it was acknowledged."""
        ...

    def read(self, n: int) -> bytes:
        """A read transfer: exactly `n` bytes."""
        ...


class NoAcknowledge(Exception):
    """Nobody answered at this address, or the chip refused the data."""


class BusHeld(Exception):
    """A chip holds SDA or SCL low: no transfer ends."""


class I2cBus:
    """Chips on two wires.

    Faults, each taking effect at the next transfer and until undone:
        unplug(address), plug(address): the chip's wire. The chip keeps its state, as one powered elsewhere does;
            call its `power_on()` where it is not.
        held = True: SDA stuck low; every transfer raises `BusHeld`.
        delay_s: each transfer takes that much longer (clock stretching).
        refuse(address, n): the next n transfers to this chip are not acknowledged (noise on the wire).
    """

    def __init__(self, chips: Iterable[Chip] = ()) -> None:
        self.held = False
        self.delay_s = 0.0
        self.transfers = 0
        self._chips: dict[int, Chip] = {}
        self._unplugged: set[int] = set()
        self._refusals: dict[int, int] = {}
        self._lock = threading.RLock()
        for chip in chips:
            self.add(chip)

    def add(self, chip: Chip) -> None:
        """Raises ValueError: the address is not 0x08..0x77 or is taken."""
        if not 0x08 <= chip.address <= 0x77 or chip.address in self._chips:
            raise ValueError(f"address {chip.address:#04x} is taken or not of 7 bits (0x08..0x77)")
        self._chips[chip.address] = chip

    def unplug(self, address: int) -> None:
        self._unplugged.add(self._chips[address].address)  # KeyError: there never was one

    def plug(self, address: int) -> None:
        self._unplugged.discard(self._chips[address].address)

    def refuse(self, address: int, n: int) -> None:
        self._refusals[self._chips[address].address] = n

    def write(self, address: int, data: bytes) -> None:
        """Raises NoAcknowledge, BusHeld."""
        with self._lock:
            if not self._chip(address).write(data):
                raise NoAcknowledge(f"{address:#04x} refused {data.hex()}")

    def read(self, address: int, n: int) -> bytes:
        """Raises NoAcknowledge, BusHeld."""
        with self._lock:
            data = self._chip(address).read(n)
        if len(data) != n:
            raise ValueError(f"the model at {address:#04x} gave {len(data)} bytes, asked for {n}")
        return data

    def _chip(self, address: int) -> Chip:
        self.transfers += 1
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.held:
            raise BusHeld("SDA is held low")
        if self._refusals.get(address, 0) > 0:
            self._refusals[address] -= 1
            raise NoAcknowledge(f"{address:#04x}: noise")
        if address not in self._chips or address in self._unplugged:
            raise NoAcknowledge(f"nobody at {address:#04x}")
        return self._chips[address]
