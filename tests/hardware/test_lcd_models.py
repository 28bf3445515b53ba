"""The display's models against RPLCD, unmodified, and against the data sheet where a driver would not go."""

from collections.abc import Callable

import pytest
from RPLCD.i2c import CharLCD

from tests.hardware.board.bus import I2cBus
from tests.hardware.board.characters import dots
from tests.hardware.board.hd44780 import Hd44780
from tests.hardware.board.masters import SMBus
from tests.hardware.board.pcf8574 import Pcf8574


@pytest.fixture
def chip() -> Pcf8574:
    return Pcf8574()


@pytest.fixture
def connect(chip: Pcf8574, monkeypatch: pytest.MonkeyPatch) -> Callable[[], CharLCD]:
    """Opens the display as a user of RPLCD does."""
    bus = I2cBus([chip])
    monkeypatch.setattr("RPLCD.i2c.SMBus", lambda port: SMBus(bus))
    return lambda: CharLCD("PCF8574", 0x27, charmap="A00")


def test_rplcd_writes_text_where_it_wants_it(chip: Pcf8574, connect: Callable[[], CharLCD]) -> None:
    connect().write_string("row one\r\nrow two\r\nrow three\r\nrow four 21.5°")
    assert [row.rstrip() for row in chip.lcd.text()] == ["row one", "row two", "row three", "row four 21.5°"]
    assert chip.lit


def test_before_the_initialization_nothing_is_seen(chip: Pcf8574) -> None:
    for register_select, nibble in ((True, 4), (True, 1)):
        chip.lcd.latch(nibble, register_select)
    assert chip.lcd.text() == [" " * 20] * 4


def test_own_characters_are_kept_dot_by_dot(chip: Pcf8574, connect: Callable[[], CharLCD]) -> None:
    lcd = connect()
    smiley = (0, 10, 10, 0, 17, 17, 14, 0)
    lcd.create_char(3, smiley)
    lcd.write_string("\x03")
    assert chip.lcd.text()[0].startswith("③")
    assert dots(3, bytes(chip.lcd.cgram)) == smiley


def test_a_second_initialization_without_a_power_cut_works_from_any_half_byte(
    chip: Pcf8574, connect: Callable[[], CharLCD]
) -> None:
    connect()
    chip.lcd.latch(0x4, False)  # half an instruction: everything after it is shifted
    connect().write_string("again")
    assert chip.lcd.text()[0].rstrip() == "again"


def test_the_address_goes_from_the_end_of_a_line_to_the_other(chip: Pcf8574) -> None:
    lcd = Hd44780()
    for nibble in (0x3, 0x3, 0x3, 0x2, 0x2, 0x8, 0x0, 0xC, 0xA, 0x7):
        lcd.latch(nibble, False)
    for code in b"xy":
        lcd.latch(code >> 4, True)
        lcd.latch(code & 15, True)
    assert lcd.text()[2][-1] == "x"  # 0x27: the third row ends the first line
    assert lcd.text()[1][0] == "y"


def test_after_power_on_all_lines_of_the_expander_are_high(chip: Pcf8574, connect: Callable[[], CharLCD]) -> None:
    connect()
    assert not chip.read(1)[0] & 0x04
    chip.power_on()
    assert chip.read(1) == b"\xf7"  # but the backlight's, which its transistor holds low
    assert Pcf8574(pulls_backlight_low=False).read(1) == b"\xff"
