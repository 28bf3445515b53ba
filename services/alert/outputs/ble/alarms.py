"""The bytes of the alarm service. Pure; little-endian. The layout is described in docs/ble.md."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from services.alert.lcd import Entry
from services.bus.messages import SEVERITIES, AlarmState

VERSION: Final = 1
TOKEN: Final = 20  # bytes: all that the smallest connection carries in one packet
VALUE: Final = 512  # the longest attribute
STATES: Final = get_args(AlarmState)
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
REVISIONS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Token:
    """What a person saw, as a phone writes it back to acknowledge: occurrence, severity, revision."""

    occurrence: str
    severity: int
    revision: int


def token(entry: Entry) -> bytes:
    """Occurrence (the ULID's 16 bytes, as its specification orders them), severity u8 1..4, revision u24."""
    return (
        ulid_bytes(entry.occurrence)
        + bytes([SEVERITIES.index(entry.severity) + 1])
        + (entry.revision % REVISIONS).to_bytes(3, "little")
    )


def read_token(data: bytes) -> Token:
    """Raises ValueError: not 20 bytes, or no such severity."""
    if len(data) != TOKEN:
        raise ValueError(f"{len(data)} bytes instead of {TOKEN}")
    severity = data[16]
    if not 1 <= severity <= len(SEVERITIES):
        raise ValueError(f"severity {severity} is none of 1 to {len(SEVERITIES)}")
    return Token(ulid_text(data[:16]), severity, int.from_bytes(data[17:], "little"))


def summary(alarms: Sequence[Entry], changes: int) -> bytes:
    """Version u8, worst severity u8 (0 = none), alarms u8, not acknowledged u8, changes u32. Args: changes: so far."""
    worst = max((SEVERITIES.index(e.severity) + 1 for e in alarms), default=0)
    waiting = sum(not e.acknowledged for e in alarms)
    return struct.pack("<4BI", VERSION, worst, min(len(alarms), 255), min(waiting, 255), changes % 2**32)


def record(entry: Entry) -> bytes:
    """Token, state u8, raised u32 [s since 1970], value f32, limit f32, then five texts, each ended by a zero byte:
    device, rule, channel, unit, text. NaN = none."""
    numbers = [math.nan if n is None else n for n in (entry.value, entry.limit)]
    head = token(entry) + struct.pack("<BI2f", STATES.index(entry.state), int(entry.raised_at) % 2**32, *numbers)
    texts = (entry.device, entry.rule, entry.channel, entry.unit, entry.text)
    return head + b"".join(t.replace("\0", "?").encode() + b"\0" for t in texts)


def first(alarms: Sequence[Entry]) -> bytes:
    """The record of the worst alarm that waits for an acknowledge, else of the worst; nothing = no alarm."""
    chosen = next((e for e in alarms if not e.acknowledged), alarms[0] if alarms else None)
    return record(chosen)[:VALUE] if chosen is not None else b""


def listing(alarms: Sequence[Entry]) -> bytes:
    """Records, worst first, each after its length u16, as many as an attribute holds."""
    out = b""
    for entry in alarms:
        one = record(entry)
        if len(out) + 2 + len(one) > VALUE:
            break
        out += struct.pack("<H", len(one)) + one
    return out


def electrical(voltage: float | None, current: float | None, highest: float | None, lowest: float | None) -> bytes:
    """Voltage i32 mV, current i32 mA (+ = charging), highest and lowest cell u16 mV; 80000000, FFFF = unknown."""
    wide = (_bounded(value, 31) for value in (voltage, current))
    cells = (0xFFFF if v is None else min(max(round(v * 1000), 0), 0xFFFE) for v in (highest, lowest))
    return struct.pack("<iiHH", *wide, *cells)


def _bounded(value: float | None, bits: int) -> int:
    limit = (1 << bits) - 1
    return -limit - 1 if value is None else min(max(round(value * 1000), -limit), limit)


def ulid_bytes(text: str) -> bytes:
    """A ULID's 128 bits, most significant byte first. Raises ValueError: no ULID."""
    if len(text) != 26 or text[0] > "7":
        raise ValueError(f"{text!r} is no ULID")
    number = 0
    for character in text:
        number = number << 5 | _CROCKFORD.index(character)
    return number.to_bytes(16, "big")


def ulid_text(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))
