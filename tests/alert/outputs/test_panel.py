"""The pictures of the character display."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alert.lcd import MARKS, PAGE_S, View
from services.alert.outputs.bigfont import big
from services.alert.outputs.panel import Picture, difference, encode, panel
from services.bus.messages import Estimated
from tests.alert.test_lcd import READINGS, entry

SIZES = [(20, 4), (16, 2)]
HOT = entry(word="HOT", device="pack-1")


def view(*alarms: object, t: float = 0.0, question: tuple[str, ...] = ()) -> View:
    return View(alarms, [("pack-1", READINGS)], "08:15:02", int(t), t, question)  # type: ignore[arg-type]


def test_an_alarm_begins_with_large_letters_then_its_details() -> None:
    first = panel(view(HOT), 20, 4)
    word, value = big("HOT"), big("110C")
    assert first.picture == (
        word[0].ljust(19) + b"*",
        word[1].ljust(16) + b" 1/1",
        value[0].ljust(20),
        value[1].ljust(20),
    )
    assert first.entry is HOT
    details = panel(view(HOT, t=PAGE_S), 20, 4)
    assert details.picture[1:] == (b"!!!over temperature ", b"pack-1              ", b"110.0/80.0degC UNACK")
    assert details.entry is HOT


def test_on_two_rows_word_value_and_details_follow_each_other() -> None:
    word = big("HOT")
    pages = [panel(view(HOT, t=t), 16, 2).picture for t in range(0, 3 * PAGE_S, PAGE_S)]
    assert pages[0] == (word[0].ljust(15) + b"*", word[1].ljust(16))
    assert pages[1] == (big("110C")[0].ljust(15) + b"*", big("110C")[1].ljust(16))
    assert pages[2] == (b"!!!over temper *", b"UNACK 110.0/80.0")


def test_an_acknowledged_alarm_is_only_told_in_detail() -> None:
    seen = entry(state="acknowledged_active", acknowledged=True)
    pages = [panel(view(seen, t=t), 20, 4) for t in range(0, 2 * PAGE_S, PAGE_S)]
    assert [p.entry for p in pages] == [seen, None]
    assert pages[0].picture[3].endswith(b" ACK")


def test_an_alarm_without_a_value_names_the_device_and_the_channel() -> None:
    assert panel(view(entry(value=None, word="LOST")), 20, 4).picture[2].strip() == b"pack-1"


def test_until_all_is_acknowledged_there_is_nothing_else_to_read() -> None:
    waits, seen = entry(), entry(state="acknowledged_active", acknowledged=True)
    assert all(panel(view(waits, seen, t=t), 20, 4).entry for t in range(0, 10 * PAGE_S, PAGE_S))
    assert [panel(view(seen, t=t), 20, 4).entry for t in range(0, 2 * PAGE_S, PAGE_S)] == [seen, None]


def test_estimates_have_their_pages() -> None:
    known = {"pack-1": {"soc": Estimated(value=0.61, error=0.01)}}
    pages = {panel(replace(view(t=t), estimates=known), 20, 4).picture[1].strip() for t in range(0, 2 * PAGE_S, PAGE_S)}
    assert pages == {b"pack-1", b"pack-1 est."}


def test_a_question_takes_turns_with_alarms_only() -> None:
    question = ("Pair phone?", "482913", "press=yes hold=no")
    first, then = (panel(view(HOT, t=t, question=question), 20, 4) for t in (0, PAGE_S))
    assert first.entry is None
    assert then.entry is HOT
    later = {panel(view(t=t, question=question), 20, 4).picture[1].strip() for t in range(0, 20, 2)}
    assert later == {b"482913"}
    asked = first
    assert [row.strip(b" *") for row in asked.picture] == [b"Pair phone?", b"482913", b"press=yes hold=no", b""]
    assert asked.entry is None
    small = panel(view(HOT, question=("Pair phone?", "482913", "press=yes")), 16, 2)
    assert [row.strip(b" *") for row in small.picture] == [b"Pair phone?", b"482913 press=yes"]


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_the_mark_moves_on_every_page(columns: int, rows: int) -> None:
    marks = [panel(view(HOT, t=t), columns, rows).picture[0][-1] for t in range(24)]
    assert marks == list(MARKS.encode()) * 6


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@given(
    st.lists(
        st.builds(
            entry,
            value=st.none() | st.floats(-1e12, 1e12),
            digits=st.integers(0, 6),
            unit=st.text(max_size=5),
            device=st.text(max_size=70),
            channel=st.text(max_size=70),
            word=st.text(st.sampled_from("ABCHLOTSX 09"), min_size=1, max_size=4),
            acknowledged=st.booleans(),
        ),
        max_size=4,
    ),
    st.integers(0, 100),
)
def test_any_alarm_fills_the_display_exactly(columns: int, rows: int, alarms: list[object], t: int) -> None:
    picture = panel(view(*alarms, t=float(t)), columns, rows).picture
    assert [len(row) for row in picture] == [columns] * rows


def apply(picture: Picture, changes: list[tuple[int, int, bytes]]) -> Picture:
    rows = [bytearray(row) for row in picture]
    for row, column, codes in changes:
        rows[row][column : column + len(codes)] = codes
    return tuple(bytes(row) for row in rows)


PICTURES = st.tuples(*[st.text("ab ", min_size=6, max_size=6).map(str.encode)] * 2)


@given(PICTURES, PICTURES)
def test_what_differs_is_enough_and_hardly_more(old: Picture, new: Picture) -> None:
    changes = difference(old, new)
    assert apply(old, changes) == new
    for row, column, codes in changes:
        for i in (0, len(codes) - 1):
            assert old[row][column + i] != codes[i]
    for a, b in pairwise(changes):
        assert a[0] < b[0] or b[1] > a[1] + len(a[2]) + 1


def test_of_an_unknown_display_everything_is_written() -> None:
    assert difference(None, (b"ab", b"  ")) == [(0, 0, b"ab"), (1, 0, b"  ")]


def test_characters_that_the_display_has_elsewhere_or_not_at_all() -> None:
    assert encode("21°C \\ ~ ä €") == b"21\xdfC / - ? ?"
