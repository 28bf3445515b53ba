"""Characters two rows high, made of the display's eight own characters. Pure.

A character of a 20x4 module is 4.75 mm high: 8 minutes of arc at two metres, where ISO 9241-303 asks for 16 at least.
Two rows are 10.2 mm, or 17.5 minutes. The parts are the usual ones of such fonts: corners, bars, and double bars.
"""

from typing import Final

FULL: Final = 0xFF  # a full block in the ROM of every HD44780
BLANK: Final = 0x20
PARTS: Final[tuple[tuple[int, ...], ...]] = (
    (0b00111, 0b01111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111),  # a upper left corner
    (0b11111, 0b11111, 0b11111, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000),  # b upper bar
    (0b11100, 0b11110, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111),  # c upper right corner
    (0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b01111, 0b00111),  # d lower left corner
    (0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b11111, 0b11111, 0b11111),  # e lower bar
    (0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11110, 0b11100),  # f lower right corner
    (0b11111, 0b11111, 0b11111, 0b00000, 0b00000, 0b00000, 0b11111, 0b11111),  # g upper and middle bar
    (0b11111, 0b00000, 0b00000, 0b00000, 0b00000, 0b11111, 0b11111, 0b11111),  # h middle and lower bar
)
"""Rows of five dots, top to bottom, of the display's own characters 0 to 7; letters name them in GLYPHS."""

GLYPHS: Final[dict[str, tuple[str, str]]] = {
    # upper row, lower row; letters as in PARTS, # a full block, blank
    "0": ("abc", "def"), "1": ("bc ", "e#e"), "2": ("ggc", "dhh"), "3": ("ggc", "hhf"), "4": ("def", "  #"),
    "5": ("#gg", "hhf"), "6": ("agg", "dhf"), "7": ("bbc", " a "), "8": ("agc", "dhf"), "9": ("agc", "  #"),
    "A": ("agc", "# #"), "B": ("#gf", "#hc"), "C": ("abb", "dee"), "D": ("#bc", "#ef"), "E": ("#gg", "#hh"),
    "F": ("#gg", "#  "), "G": ("abb", "dec"), "H": ("#e#", "# #"), "I": ("b#b", "e#e"), "J": ("  #", "eef"),
    "K": ("#ef", "# c"), "L": ("#  ", "#ee"), "M": ("adfc", "#  #"), "N": ("ad #", "# df"), "O": ("abc", "def"),
    "P": ("#gc", "#  "), "Q": ("abc", "de#"), "R": ("#gc", "# c"), "S": ("agg", "hhf"), "T": ("b#b", " # "),
    "U": ("# #", "def"), "V": ("# #", "d#f"), "W": ("#  #", "dacf"), "X": ("def", "a c"), "Y": ("def", " # "),
    "Z": ("bgf", "ahe"), "-": ("ee", "  "), ".": (" ", "e"), " ": ("  ", "  "),
}  # fmt: skip


def width(text: str) -> int:
    """Columns that the text takes."""
    return len(big(text)[0])


def big(text: str) -> tuple[bytes, bytes]:
    """The text as two rows of the display's codes. Raises KeyError: no such character."""
    upper, lower = (" ".join(GLYPHS[c][half] for c in text) for half in (0, 1))
    return bytes(map(_code, upper)), bytes(map(_code, lower))


def _code(part: str) -> int:
    return {" ": BLANK, "#": FULL}[part] if part in " #" else ord(part) - ord("a")


def fitting(value: float, digits: int, unit: str, columns: int) -> str:
    """A value with the first letter of its unit, with as many digits as fit; "" if none do."""
    letter = unit[:1].upper()
    letter = "C" if unit == "degC" else letter if letter in GLYPHS else ""
    texts = (f"{value:.{places}f}{end}" for end in (letter, "") for places in range(digits, -1, -1))
    return next((text for text in texts if width(text) <= columns), "")
