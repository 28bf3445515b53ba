"""Values as the bytes of Bluetooth SIG characteristics. Pure; little-endian; None = unknown.

Numbers and fields: Bluetooth SIG Assigned Numbers and GATT Specification Supplement; Battery Service 1.1.
"""

import struct
from datetime import datetime
from typing import Final

REST_A: Final = 0.05  # below this a battery is neither charged nor discharged [A]
LOW, CRITICAL = 0.2, 0.05  # state of charge that the Battery Service is told to call low, and critical


def text(value: str) -> bytes:
    """A UTF-8 string; an attribute holds 512 bytes, a name needs no more than 64."""
    return value.encode()[:64].decode(errors="ignore").encode()


def battery_level(soc: float | None) -> bytes | None:
    """2A19: percent, u8. It has no value for unknown. Args: soc: 0..1."""
    return None if soc is None else bytes([_percent(soc)])


def battery_level_status(soc: float | None, current: float | None, fault: bool, service: bool | None) -> bytes:
    """2BED: flags u8, power state u16, [level u8], additional u8.

    Args:
        current: positive when charging [A].
        fault: an alarm of severity high or above; service: it needs somebody at once (None = unknown).
    """
    flags = 0x04 | (0x02 if soc is not None else 0)
    charge = 0 if current is None else 1 if current > REST_A else 2 if current < -REST_A else 3
    level = 0 if soc is None else 1 if soc > LOW else 2 if soc > CRITICAL else 3
    wired = {1: 1}.get(charge, 2)  # who charges has a source; else it is not known
    power = 0x0001 | wired << 1 | charge << 5 | level << 7
    additional = {False: 0, True: 1, None: 2}[service] | (0x04 if fault else 0)
    level_byte = bytes([_percent(soc)]) if soc is not None else b""
    return struct.pack("<BH", flags, power) + level_byte + bytes([additional])


def battery_critical_status(critical_power: bool, service: bool) -> bytes:
    """2BE9: bit 0 critical power state, bit 1 immediate service required."""
    return bytes([critical_power | service << 1])


def battery_health_status(health: float | None, temperature: float | None) -> bytes:
    """2BEA: flags u8, [health summary u8 %], [temperature s8 degC; 7F above 126, 80 below -127]. Args: health: 0..1."""
    flags, content = 0, b""
    if health is not None:
        flags, content = flags | 0x01, content + bytes([_percent(health)])
    if temperature is not None:
        flags |= 0x04
        content += struct.pack("<b", 127 if temperature > 126 else max(round(temperature), -128))
    return bytes([flags]) + content


def temperature(celsius: float | None) -> bytes:
    """2A6E: s16 in 0.01 degC; 8000 = unknown. Absolute zero and 327.67 are its ends."""
    raw = -0x8000 if celsius is None else min(max(round(celsius * 100), -27315), 32767)
    return struct.pack("<h", raw)


def current_time(time: datetime) -> bytes:
    """2A2B: year u16, month, day, hours, minutes, seconds, weekday (Monday 1), 1/256 s, reason of adjustment (0)."""
    day = (time.year, time.month, time.day, time.hour, time.minute, time.second)
    return struct.pack("<H8B", *day, time.isoweekday(), time.microsecond * 256 // 1_000_000, 0)


def read_current_time(data: bytes) -> datetime:
    """What a phone writes to 2A2B: its local time. Raises ValueError."""
    if len(data) != 10:
        raise ValueError(f"{len(data)} bytes instead of 10")
    year, month, day, hour, minute, second, _, fraction, _ = struct.unpack("<H8B", data)
    return datetime(year, month, day, hour, minute, second, fraction * 1_000_000 // 256)


def _percent(ratio: float) -> int:
    return min(max(round(ratio * 100), 0), 100)
