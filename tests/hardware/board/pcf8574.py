"""The PCF8574 port expander with a display behind it, wired as on the usual backpacks. Source: TI's SCPS068.

P0 RS, P1 R/W, P2 E, P3 backlight, P4..P7 D4..D7. The port is quasi-bidirectional: a read gives what is on the pins, and
at power-on all are high.
"""

from tests.hardware.board.hd44780 import Hd44780

RS, RW, E, BACKLIGHT = 1, 2, 4, 8


class Pcf8574:
    """A `Chip` of the bus. Args: pulls_backlight_low: the backlight's transistor holds P3 down, as on many boards."""

    def __init__(self, address: int = 0x27, lcd: Hd44780 | None = None, *, pulls_backlight_low: bool = True) -> None:
        self.address = address
        self.lcd = lcd or Hd44780()
        self._pulls = pulls_backlight_low
        self.port = 0xFF

    def power_on(self) -> None:
        """Both chips lose what they knew."""
        self.port = 0xFF
        self.lcd.power_on()

    @property
    def lit(self) -> bool:
        return bool(self.port & BACKLIGHT)

    def write(self, data: bytes) -> bool:
        for value in data:
            falls = self.port & E and not value & E
            if falls and not self.port & RW:
                self.lcd.latch(self.port >> 4, bool(self.port & RS))
            self.port = value
        return True

    def read(self, n: int) -> bytes:
        pins = self.port & ~BACKLIGHT if self._pulls else self.port
        return bytes([pins]) * n
