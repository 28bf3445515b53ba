"""What the character display shows, as codes of the HD44780. Pure: the same view gives the same picture.

In an alarm large letters for two metres alternate with the details for who has come near. The mark in the upper right
corner moves each second on every page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.alert.lcd import MARKS, PAGE_S, Entry, View, frame, page_count
from services.alert.outputs.bigfont import big, fitting

Picture = tuple[bytes, ...]
"""A row of codes for each row of the display."""
_TRANSLATE: Final = {"\\": "/", "~": "-", "°": "\xdf"}  # the ROM (A00) has a yen and an arrow there
_BESIDE: Final = 16  # on 20 columns large letters end before this one: a word has four


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, and the alarm that it is about."""

    picture: Picture
    entry: Entry | None


def panel(view: View, columns: int, rows: int) -> Shown:
    """The page of this second."""
    pages = [*_asked(view, rows), *_pages(view, columns, rows)]
    shown = pages[int(view.since_change_s // PAGE_S) % len(pages)]
    mark = MARKS[view.second % len(MARKS)].encode()
    first = shown.picture[0].ljust(columns)[: columns - 1] + mark
    return Shown((first, *(row.ljust(columns)[:columns] for row in shown.picture[1:rows])), shown.entry)


def _pages(view: View, columns: int, rows: int) -> Iterator[Shown]:
    """Alarms; once all of them are acknowledged, and nothing is asked, also what else there is to read."""
    for number, entry in enumerate(view.alarms, 1):
        if not entry.acknowledged:
            for picture in _large(entry, f"{number}/{len(view.alarms)}", columns, rows):
                yield Shown(picture, entry)
        yield Shown(_detail(view, number - 1, columns, rows), entry)
    if not view.question and all(entry.acknowledged for entry in view.alarms):
        for number in range(len(view.alarms), page_count(view)):
            yield Shown(_detail(view, number, columns, rows), None)


def _large(entry: Entry, which: str, columns: int, rows: int) -> Iterator[Picture]:
    upper, lower = big(entry.word)
    text = fitting(entry.value, entry.digits, entry.unit, columns - 1) if entry.value is not None else ""
    if rows == 2:  # one after the other
        yield upper, lower
        if text:
            yield big(text)
        return
    value = big(text) if text else (encode(entry.device), encode(entry.channel))
    yield upper, lower.ljust(_BESIDE)[:_BESIDE] + encode(f"{which:>{columns - _BESIDE}}"), *value


def _detail(view: View, page: int, columns: int, rows: int) -> Picture:
    """A page of the text frame (20x4), or what fits of it on two rows."""
    lines = frame(replace(view, since_change_s=page * PAGE_S))
    if rows == 4:
        return tuple(encode(line) for line in lines)
    if page < len(view.alarms):
        what, value = lines[1].strip(), lines[3].split()
        return encode(what[: columns - 2]), encode(" ".join((value[-1], *value[:-1])).replace("degC", "C"))
    return encode(f"{lines[0].split()[1]} {lines[1].strip()}"[: columns - 2]), encode(lines[2].strip() or lines[3])


def _asked(view: View, rows: int) -> Iterator[Shown]:
    """What a person is asked to confirm with the button; alarms take turns with it."""
    lines: Sequence[str] = view.question
    if not lines:
        return
    if rows == 2:
        lines = (lines[0], " ".join(lines[1:]))
    yield Shown(tuple(encode(line) for line in (*lines, *[""] * rows))[:rows], None)


def encode(text: str) -> bytes:
    """Text as the display's codes; what its ROM does not have becomes a question mark."""
    known = "".join(_TRANSLATE.get(c, c if " " <= c <= "}" else "?") for c in text)
    return known.encode("latin-1")


def difference(old: Picture | None, new: Picture) -> list[tuple[int, int, bytes]]:
    """What to write to get from one picture to the next: (row, column, codes). None = nothing is known of the old one.

    To move on costs as much as one character: two runs with one equal cell between them are one.
    """
    runs: list[tuple[int, int, bytes]] = []
    for row, codes in enumerate(new):
        before = old[row] if old is not None else None
        changed = [i for i, code in enumerate(codes) if before is None or before[i] != code]
        start = last = -1
        for i in changed:
            if start >= 0 and i - last > 2:
                runs.append((row, start, codes[start : last + 1]))
                start = i
            start, last = (i if start < 0 else start), i
        if start >= 0:
            runs.append((row, start, codes[start : last + 1]))
    return runs
