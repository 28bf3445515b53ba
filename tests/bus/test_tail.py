"""The tail: what a power cut or a bit flip leaves is a prefix of what was written."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.tail import Record, Tail, decode, encode

KEYS = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=40)
RECORDS = st.lists(st.builds(Record, KEYS, st.binary(max_size=60)), max_size=8)


def encoded(records: list[Record]) -> bytes:
    return b"".join(map(encode, records))


@given(RECORDS)
def test_all_is_read_that_was_written(records: list[Record]) -> None:
    content = encoded(records)
    assert decode(content) == (records, len(content))


@given(RECORDS, st.data())
def test_a_truncated_tail_gives_a_prefix(records: list[Record], data: st.DataObject) -> None:
    content = encoded(records)
    cut = data.draw(st.integers(0, len(content)))
    found, good = decode(content[:cut])
    assert found == records[: len(found)]
    assert encoded(found) == content[:good]
    assert len(encoded(records[: len(found) + 1])) > cut or found == records


@given(RECORDS.filter(bool), st.data())
def test_a_flipped_bit_gives_a_prefix(records: list[Record], data: st.DataObject) -> None:
    content = bytearray(encoded(records))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    found, _ = decode(bytes(content))
    whole = 0  # records that end before the flip are all there
    while len(encoded(records[: whole + 1])) <= at:
        whole += 1
    assert found[:whole] == records[:whole]
    assert found == records[: len(found)]


@given(st.binary(max_size=300))
def test_anything_can_be_read(content: bytes) -> None:
    found, good = decode(content)
    assert good <= len(content)
    assert bool(found) == (good > 0)


def test_a_file_keeps_records_over_processes(tmp_path: Path) -> None:
    records = [Record("a 1", b"x\ny"), Record("= s", b"")]
    tail = Tail(tmp_path / "tail.log")
    tail.append(records[:1])
    tail.append(records[1:])
    tail.close()
    with (tmp_path / "tail.log").open("ab") as file:
        file.write(b"torn")
    tail = Tail(tmp_path / "tail.log")
    assert tail.read() == (records, 4)
    tail.clear()
    assert tail.read() == ([], 0)
    tail.close()


def test_a_disk_that_fills_in_mid_write_leaves_no_torn_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = Tail(tmp_path / "tail.log")
    tail.append([Record("a", b"1")])
    write = os.write

    def full(file: int, content: bytes) -> int:
        if len(content) > 5:
            return write(file, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            tail.append([Record("b", b"2" * 100)])
    tail.append([Record("c", b"3")])
    assert tail.read() == ([Record("a", b"1"), Record("c", b"3")], 0)
    tail.close()


def test_a_tail_that_is_full_takes_nothing_until_it_is_cleared(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "tail.log", max_bytes=100)
    tail.append([Record("a", b"x" * 40)])
    with pytest.raises(OSError, match="the tail is full"):
        tail.append([Record("b", b"x" * 60)])
    assert tail.read() == ([Record("a", b"x" * 40)], 0)
    tail.clear()
    tail.append([Record("b", b"x" * 60)])
    tail.close()
