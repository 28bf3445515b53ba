"""Large characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alert.outputs.bigfont import FULL, GLYPHS, PARTS, big, fitting, width


def test_a_text_has_two_rows_of_the_same_width() -> None:
    assert big("1.5") == (bytes([1, 2, *b"    ", FULL, 6, 6]), bytes([4, FULL, 4, 32, 4, 32, 7, 7, 5]))


@given(st.text(st.sampled_from(sorted(GLYPHS)), max_size=8))
def test_any_text_of_known_characters_is_a_rectangle_of_codes_that_the_display_has(text: str) -> None:
    upper, lower = big(text)
    assert len(upper) == len(lower) == width(text)
    assert {*upper, *lower} <= {*range(8), 0x20, FULL}


def test_no_two_characters_look_alike() -> None:
    alike = {("0", "O"), ("5", "S")}
    seen = {(a, b) for a in GLYPHS for b in GLYPHS if a < b and GLYPHS[a] == GLYPHS[b]}
    assert seen <= alike


def test_the_parts_are_eight_of_five_by_eight_dots() -> None:
    assert len(PARTS) == 8
    assert all(len(part) == 8 and max(part) < 32 for part in PARTS)


@pytest.mark.parametrize(
    ("value", "digits", "unit", "shown"),
    [
        (110.0, 1, "degC", "110C"),
        (4.287, 3, "V", "4.29V"),
        (-12.34, 2, "degC", "-12C"),
        (355.25, 2, "V", "355V"),
        (123456.7, 1, "W", ""),
        (12345.6, 1, "A", "12346"),
        (1.53, 2, "K/s", "1.53K"),
        (7.0, 0, "", "7"),
    ],
)
def test_a_value_takes_as_many_digits_as_fit(value: float, digits: int, unit: str, shown: str) -> None:
    text = fitting(value, digits, unit, 19)
    assert width(text) <= 19
    assert text == shown
