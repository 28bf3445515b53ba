"""How a message is kept: deflated, for an SD card is worn by bytes (a sample of 96 cells shrinks to a third)."""

import zlib
from typing import Final

SMALL: Final = 256  # bytes; below it deflating gains nothing
_DEFLATED: Final = b"\0"  # stands before a zlib stream; JSON text never begins with it


def pack(payload: bytes) -> bytes:
    return _DEFLATED + zlib.compress(payload, 1) if len(payload) > SMALL else payload


def unpack(kept: bytes) -> bytes:
    return zlib.decompress(kept[1:]) if kept[:1] == _DEFLATED else kept
