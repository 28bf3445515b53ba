"""How messages are kept: deflated, for an SD card is worn by bytes.

A sample of 96 cells alone shrinks to two fifths, among those before it to a twentieth: each is much like the last.
"""

import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

SMALL: Final = 256  # bytes; below it deflating gains nothing
_DEFLATED: Final = b"\0"  # stands before a zlib stream; JSON text never begins with it
Timed = tuple[float, bytes]  # time it speaks of [s since 1970], payload


def pack(payload: bytes) -> bytes:
    return _DEFLATED + zlib.compress(payload, 1) if len(payload) > SMALL else payload


def unpack(kept: bytes) -> bytes:
    return zlib.decompress(kept[1:]) if kept[:1] == _DEFLATED else kept


def pack_block(messages: Sequence[Timed]) -> bytes:
    """Messages, packed one by one or not at all, as one; a single message stays as it is."""
    if len(messages) == 1:
        return messages[0][1]
    payloads = [unpack(kept) for _, kept in messages]
    lengths, times = map(len, payloads), (ts for ts, _ in messages)
    head = struct.pack(f"<{len(payloads)}I{len(payloads)}d", *lengths, *times)
    return zlib.compress(head + b"".join(payloads), 6)


def unpack_block(kept: bytes, count: int, ts: float) -> list[Timed]:
    """The `count` messages of a block. `ts`: the time of a single message. Raises ValueError on damage."""
    if count == 1:
        return [(ts, kept)]
    try:
        content = zlib.decompress(kept)
        head = struct.unpack_from(f"<{count}I{count}d", content)
    except (zlib.error, struct.error) as error:
        raise ValueError(str(error)) from None
    cuts = list(accumulate(head[:count], initial=struct.calcsize(f"<{count}I{count}d")))
    if cuts[-1] != len(content):
        raise ValueError(f"{len(content)} bytes, expected {cuts[-1]}")
    return [(t, content[first:last]) for t, (first, last) in zip(head[count:], pairwise(cuts), strict=True)]
