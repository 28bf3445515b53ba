"""What is advertised for Home Assistant: BTHome version 2, not encrypted (bthome.io/format). Pure.

A legacy advertisement has 31 bytes, of which 24 are left; the objects stand in the order of their numbers.
"""

import struct
from dataclasses import dataclass
from typing import Final

UUID: Final = "fcd2"
INFORMATION: Final = 0x40  # version 2, regular, not encrypted
ROOM: Final = 24
_BATTERY, _TEMPERATURE, _VOLTAGE, _HEAT, _PROBLEM, _SAFETY, _VOLTAGE_COARSE, _CURRENT = (
    0x01, 0x02, 0x0C, 0x1D, 0x26, 0x28, 0x4A, 0x5D,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Readings:
    """Args: soc 0..1; temperature degC; voltage V; current A, positive = charging; heat, problem, safety: alarms."""

    soc: float | None
    temperature: float | None
    voltage: float | None
    current: float | None
    heat: bool
    problem: bool
    safety: bool


def advertisement(r: Readings) -> bytes:
    """The service data under FCD2. What is unknown, or does not fit its object, is left out: it is no zero."""
    out = bytes([INFORMATION])
    if r.soc is not None:
        out += struct.pack("<BB", _BATTERY, min(max(round(r.soc * 100), 0), 100))
    if r.temperature is not None:
        out += struct.pack("<Bh", _TEMPERATURE, min(max(round(r.temperature * 100), -32768), 32767))
    if r.voltage is not None and 0 <= round(r.voltage * 1000) <= 65535:
        out += struct.pack("<BH", _VOLTAGE, round(r.voltage * 1000))
    for number, true in ((_HEAT, r.heat), (_PROBLEM, r.problem), (_SAFETY, r.safety)):
        out += bytes([number, true])
    if r.voltage is not None and 65535 < round(r.voltage * 1000) <= 6553500:
        out += struct.pack("<BH", _VOLTAGE_COARSE, round(r.voltage * 10))
    if r.current is not None and abs(round(r.current * 1000)) <= 32767:
        out += struct.pack("<Bh", _CURRENT, round(r.current * 1000))
    return out
