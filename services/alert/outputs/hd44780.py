"""The display itself, through RPLCD: PCF8574 on I2C, HD44780 behind it in 4-bit mode.

RPLCD brings it up and commands it. Characters go in bursts, one transfer a run: RPLCD takes eight transfers and as many
pauses for each. At 400 kHz, the chip's fastest, the next character comes after 67 us; the display needs 43.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from RPLCD.i2c import CharLCD
from smbus2 import i2c_msg

from services.alert.outputs.bigfont import PARTS
from services.alert.outputs.panel import Picture, difference

SELECT, ENABLE, LIGHT = (
    0x01,
    0x04,
    0x08,
)  # PCF8574 P0: character; P3: backlight; P2 drives the display's E: low between two transfers
REFRESH_S: Final = 30.0
"""Noise on the wires can shift a 4-bit interface by half a byte, and garbles everything after it: the interface is
synchronized and all of it written again each half minute. Nothing is cleared, so that nothing flickers."""
_RESYNC: Final = (0x33, 0x32, 0x28, 0x0C, 0x06)  # 8 bits, 4 bits, two lines, on without cursor, writing to the right


class SMBus(Protocol):
    """As smbus2.SMBus."""

    def i2c_rdwr(self, *i2c_msgs: Any) -> None: ...
    def read_byte(self, i2c_addr: int, force: bool | None = None) -> int: ...
    def write_byte(self, i2c_addr: int, value: int, force: bool | None = None) -> None: ...
    def close(self) -> None: ...


class _Screen(CharLCD):  # type: ignore[misc]
    """RPLCD's display on a bus that we own: a display that is not there must not cost a file each attempt."""

    def __init__(self, bus: SMBus, address: int, columns: int, rows: int) -> None:
        self._given = bus
        super().__init__("PCF8574", address, cols=columns, rows=rows, charmap="A00", auto_linebreaks=False)

    def _init_connection(self) -> None:
        self.bus: Any = self._given
        time.sleep(0.05)  # after power-on

    def put(self, row: int, column: int, codes: bytes) -> None:
        """Write codes from a place on."""
        line = (0x00, 0x40, self.lcd.cols, 0x40 + self.lcd.cols)[row]
        self._burst(0x80 | line + column, codes)

    def define(self, place: int, rows: Sequence[int]) -> None:
        """The dots of an own character."""
        self._burst(0x40 | place << 3, rows)

    def _burst(self, address: int, codes: Iterable[int]) -> None:
        """Where to, then what: each byte as two nibbles, taken at the fall of E."""
        port = bytearray()
        for value, select in ((address, 0), *((code, SELECT) for code in codes)):
            for nibble in (value & 0xF0, value << 4 & 0xF0):
                lines = nibble | select | LIGHT
                port += bytes((lines, lines | ENABLE, lines))
        self._given.i2c_rdwr(i2c_msg.write(self._address, port))


class Hd44780:
    """A worker's device: draws pictures, only what has changed.

    Args:
        connect: opens the bus.
        clock: steady [s].
    """

    def __init__(
        self, connect: Callable[[], SMBus], address: int, columns: int, rows: int, clock: Callable[[], float]
    ) -> None:
        self._connect, self._address, self._size, self._clock = connect, address, (columns, rows), clock
        self._bus: SMBus | None = None
        self._screen: _Screen | None = None
        self._picture: Picture | None = None
        self._refreshed = 0.0

    def open(self) -> None:
        self._bus = self._connect()
        self._screen = _Screen(self._bus, self._address, *self._size)
        self._define()
        columns, rows_ = self._size
        self._picture = (b" " * columns,) * rows_  # it was cleared
        self._refreshed = self._clock()

    def draw(self, state: Picture) -> None:
        """Raises OSError: nobody acknowledges, or the display has lost its power since."""
        assert self._screen is not None
        assert self._bus is not None
        if self._bus.read_byte(self._address) & ENABLE:  # an expander that starts has all lines high
            raise OSError("the display was without power")
        if self._clock() - self._refreshed >= REFRESH_S:
            for instruction in _RESYNC:
                self._screen.command(instruction)
            self._screen.home()  # a stray half byte may have shifted the display
            self._define()
            self._picture, self._refreshed = None, self._clock()
        for row, column, codes in difference(self._picture, state):
            self._screen.put(row, column, codes)
        self._picture = state

    def _define(self) -> None:
        assert self._screen is not None
        for place, rows in enumerate(PARTS):
            self._screen.define(place, rows)

    def close(self) -> None:
        bus, screen, self._bus, self._screen = self._bus, self._screen, None, None
        try:
            if screen is not None:
                screen.clear()
                screen.put(0, 0, b"stopped")
        finally:
            if bus is not None:
                bus.close()
