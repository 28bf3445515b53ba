"""The INA226 current monitor, register by register. Source: TI's SBOS547B."""

import time
from collections.abc import Callable
from typing import Final

CONFIG, SHUNT, BUS, POWER, CURRENT, CALIBRATION, MASK, LIMIT = range(8)
MANUFACTURER, DIE = 0xFE, 0xFF
RESET: Final = 0x4127  # no averaging, 1.1 ms each, both for ever
AVERAGES: Final = (1, 4, 16, 64, 128, 256, 512, 1024)
CONVERSION_S: Final = (140e-6, 204e-6, 332e-6, 588e-6, 1.1e-3, 2.116e-3, 4.156e-3, 8.244e-3)
READY: Final = 0x0008  # of MASK: a conversion has ended since MASK was read
ALERT: Final = 0x0010
LATCH: Final = 0x0001


class Ina226:
    """A `Chip` of the bus.

    Attributes:
        shunt_v: voltage between IN+ and IN- [V].
        bus_v: voltage of VBUS against ground [V].
        die: as read at 0xFF; another chip of the family has another.

    Faults, in effect until undone:
        frozen: no conversion ends any more.
        brown_out(): the chip is reset, as by a dip of its supply.
    """

    def __init__(self, address: int = 0x41, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self.shunt_v, self.bus_v = 0.001, 12.0
        self.die = 0x2260
        self.frozen = False
        self._clock = clock
        self.power_on()

    def power_on(self) -> None:
        self._pointer = CONFIG
        self._registers = dict.fromkeys(range(8), 0) | {CONFIG: RESET}
        self._begin()

    brown_out = power_on

    def _begin(self) -> None:
        config = self._registers[CONFIG]
        self._step = (CONVERSION_S[config >> 3 & 7] + CONVERSION_S[config >> 6 & 7]) * AVERAGES[config >> 9 & 7]
        self._ends = self._clock() + self._step
        self._registers[MASK] &= ~READY

    def write(self, data: bytes) -> bool:
        if not data:
            return True
        self._pointer = data[0]
        if len(data) >= 3:
            value = data[1] << 8 | data[2]
            if self._pointer == CONFIG:
                if value & 0x8000:
                    self.power_on()
                    return True
                self._registers[CONFIG] = value & 0x0FFF | 0x4000
                self._begin()
            elif self._pointer == MASK:
                self._registers[MASK] = value & 0xFC03 | self._registers[MASK] & 0x001C
            elif self._pointer in (CALIBRATION, LIMIT):
                self._registers[self._pointer] = value
        return True

    def read(self, n: int) -> bytes:
        self._settle()
        value = {MANUFACTURER: 0x5449, DIE: self.die}.get(self._pointer, self._registers.get(self._pointer, 0))
        if self._pointer == MASK:
            self._registers[MASK] &= ~READY
            if value & LATCH:
                self._registers[MASK] &= ~ALERT  # a latched alert is released by reading
        return (value.to_bytes(2, "big") * (n // 2 + 1))[:n]

    @property
    def alert(self) -> bool:
        """Whether the ALERT pin is asserted."""
        self._settle()
        return bool(self._registers[MASK] & ALERT)

    def _settle(self) -> None:
        now, mode = self._clock(), self._registers[CONFIG] & 7
        if self.frozen or mode < 5 or now < self._ends:
            return
        self._ends = max(self._ends + self._step, now)
        shunt = max(-0x7FFF, min(0x7FFF, round(self.shunt_v / 2.5e-6)))
        bus = max(0, min(0x7FFF, round(self.bus_v / 1.25e-3)))
        current = shunt * self._registers[CALIBRATION] // 2048
        self._registers[SHUNT] = shunt & 0xFFFF
        self._registers[BUS] = bus
        self._registers[CURRENT] = current & 0xFFFF
        self._registers[POWER] = abs(current * bus // 20_000) & 0xFFFF
        self._alarm(shunt, bus)

    def _alarm(self, shunt: int, bus: int) -> None:
        mask, limit = self._registers[MASK], self._registers[LIMIT]
        limit_signed = limit - 0x10000 if limit & 0x8000 else limit
        beyond = (
            bool(mask & 0x8000 and shunt > limit_signed)
            or bool(mask & 0x4000 and shunt < limit_signed)
            or bool(mask & 0x2000 and bus > limit)
            or bool(mask & 0x1000 and bus < limit)
            or bool(mask & 0x0800 and self._registers[POWER] > limit)
        )
        mask |= READY
        if beyond:
            mask |= ALERT
        elif not mask & LATCH:
            mask &= ~ALERT
        self._registers[MASK] = mask
