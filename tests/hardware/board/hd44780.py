"""The HD44780 character display controller, at the level of its pins. Source: Hitachi's data sheet, ADE-207-272(Z).

Nibbles arrive at the falling edge of E. From power-on the interface is 8 bits wide (with four lines wired, the lower
half reads as ones: they have pull-ups), and the display is off: what a driver leaves out of the initialization shows.
"""

from typing import Final

LINES: Final = (0x00, 0x40)  # DDRAM address of the first character of each line
LINE: Final = 40  # characters of a line


class Hd44780:
    """Args: columns, rows: of the glass; 4 rows are the two lines' second halves."""

    def __init__(self, columns: int = 20, rows: int = 4) -> None:
        self.columns, self.rows = columns, rows
        self.written = 0  # characters that reached the display memory: what a person sees change
        self.power_on()

    def power_on(self) -> None:
        """The internal reset."""
        self.ddram = bytearray(b" " * 0x80)
        self.cgram = bytearray(64)
        self.address = 0
        self.in_cgram = False
        self.four_bits = False
        self.two_lines = False
        self.on = self.cursor = self.blink = False
        self.increment = True
        self.shifts = False
        self.shift = 0
        self._high: int | None = None
        self._register_select = False

    # --- pins -------------------------------------------------------------------------------------------------------

    def latch(self, nibble: int, register_select: bool) -> None:
        """E falls while D4..D7 are `nibble`."""
        if not self.four_bits:
            self._take(nibble << 4 | 0xF, register_select)
        elif self._high is None:
            self._high, self._register_select = nibble, register_select
        else:
            value, self._high = self._high << 4 | nibble, None
            self._take(value, self._register_select)

    def _take(self, value: int, data: bool) -> None:
        if data:
            self._write(value)
            return
        match value.bit_length():
            case 8:
                self.address, self.in_cgram = value & 0x7F, False
            case 7:
                self.address, self.in_cgram = value & 0x3F, True
            case 6:
                self.four_bits, self.two_lines = not value & 0x10, bool(value & 0x08)
            case 5:
                self._move(right=bool(value & 0x04), display=bool(value & 0x08))
            case 4:
                self.on, self.cursor, self.blink = bool(value & 4), bool(value & 2), bool(value & 1)
            case 3:
                self.increment, self.shifts = bool(value & 2), bool(value & 1)
            case 2:
                self.address, self.in_cgram, self.shift = 0, False, 0
            case 1:
                self.ddram[:] = b" " * len(self.ddram)
                self.address, self.in_cgram, self.shift, self.increment = 0, False, 0, True
                self.written += self.columns * self.rows

    def _write(self, value: int) -> None:
        if self.in_cgram:
            self.cgram[self.address] = value & 0x1F
            self.address = (self.address + (1 if self.increment else -1)) & 0x3F
            return
        self.ddram[self.address] = value
        self.written += 1
        if self.shifts:
            self.shift += 1 if self.increment else -1
        self._advance(1 if self.increment else -1)

    def _advance(self, by: int) -> None:
        """The address counter steps from the end of one line to the beginning of the other."""
        valid = [start + i for start in LINES for i in range(LINE)]
        self.address = valid[(valid.index(self.address) + by) % len(valid)] if self.address in valid else 0

    def _move(self, right: bool, display: bool) -> None:
        if display:
            self.shift += -1 if right else 1
        else:
            self._advance(1 if right else -1)

    # --- what a person sees -----------------------------------------------------------------------------------------

    def codes(self) -> list[bytes]:
        """The character codes of each row on the glass; blank while the display is off."""
        if not self.on:
            return [b" " * self.columns] * self.rows
        starts = [LINES[row % 2] + (self.columns if row >= 2 else 0) for row in range(self.rows)]
        return [
            bytes(self.ddram[(s & 0x40) + ((s & 0x3F) + i + self.shift) % LINE] for i in range(self.columns))
            for s in starts
        ]

    def text(self) -> list[str]:
        """The rows as text: own characters as `0`..`7` in circles, a block as a block, degree as such."""
        special = {0xFF: "█", 0xDF: "°"} | {i: chr(0x24EA) if i == 0 else chr(0x245F + i) for i in range(8)}
        return ["".join(special.get(code, chr(code)) for code in row) for row in self.codes()]
