"""The tail: an append-only file that holds what the journal's next grouped commit will take.

Appending is one write() to the page cache, so a killed process loses nothing, and the SD card is written only each
group; in a folder in memory (tmpfs), which a power cut takes as well, it never reaches the card. One record
a line-framed block: `<crc32 hex> <key length> <payload length>\\n<key><payload>\\n`.
"""

import errno
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 * 2**20  # of memory or disk, while the journal takes nothing


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to keep: a stream message (key `stream boot seq at ts timed`) or a state (key `= name`)."""

    key: str
    payload: bytes


def encode(record: Record) -> bytes:
    key = record.key.encode()
    crc = zlib.crc32(record.payload, zlib.crc32(key))
    return b"%08x %d %d\n%b%b\n" % (crc, len(key), len(record.payload), key, record.payload)


def decode(content: bytes) -> tuple[list[Record], int]:
    """Records up to the first damage, and how many bytes of the content they are (a power cut tears the end)."""
    records, at = [], 0
    while True:
        line = content.find(b"\n", at, at + 64)
        try:
            crc, key_length, length = content[at:line].split()
            key_end = line + 1 + int(key_length)
            end = key_end + int(length)
            if line < 0 or int(length) < 0 or int(key_length) < 0:
                break
            key, payload = content[line + 1 : key_end], content[key_end:end]
            if content[end : end + 1] != b"\n" or int(crc, 16) != zlib.crc32(payload, zlib.crc32(key)):
                break
            records.append(Record(key.decode(), payload))
        except (ValueError, UnicodeDecodeError):
            break
        at = end + 1
    return records, at


class Tail:
    """The file. Not thread-safe; every call may raise OSError (full disk).

    Args:
        max_bytes: no more than this; beyond it the disk is as good as full.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path, self._max_bytes = path, max_bytes
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)

    def read(self) -> tuple[list[Record], int]:
        """What an earlier process left, and how many damaged bytes follow it."""
        content = self.path.read_bytes()
        records, good = decode(content)
        return records, len(content) - good

    def append(self, records: Iterable[Record]) -> None:
        block = b"".join(map(encode, records))
        before = os.fstat(self._file).st_size
        if before + len(block) > self._max_bytes:
            raise OSError(errno.ENOSPC, "the tail is full", str(self.path))
        try:
            while block:
                block = block[os.write(self._file, block) :]
        except OSError:
            os.ftruncate(self._file, before)  # no torn record in the middle once there is room again
            raise

    def clear(self) -> None:
        """Forget everything: it is committed."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        os.close(self._file)
