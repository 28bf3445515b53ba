"""Occurrence ids: ULIDs made from what raised the alarm, so that judging the same samples again gives the same id."""

import hashlib
from datetime import datetime
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(time: datetime, *parts: object) -> str:
    """26 characters: `time` in ms since 1970 (48 bits), then 80 bits of the SHA-256 of `parts`.

    Source: github.com/ulid/spec. Ids sort by time; a time before 1970 counts as 1970.
    """
    milliseconds = min(max(int(time.timestamp() * 1000), 0), 2**48 - 1)
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:10]
    number = milliseconds << 80 | int.from_bytes(digest, "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))
