"""The INA219 current monitor, register by register. Source: TI's SBOS448G."""

import time
from collections.abc import Callable
from typing import Final

CONFIG, SHUNT, BUS, POWER, CURRENT, CALIBRATION = range(6)
RESET: Final = 0x399F  # 32 V, +-320 mV, 12 bits, both for ever
SAMPLE_S: Final = (84e-6, 148e-6, 276e-6, 532e-6)  # 9 to 12 bits


def sample_s(setting: int) -> float:
    """Conversion time of an ADC setting (4 bits)."""
    return SAMPLE_S[setting & 3] if setting < 8 else SAMPLE_S[3] * (1 << (setting & 7))


class Ina219:
    """A `Chip` of the bus.

    Attributes:
        shunt_v: voltage between V+ and V- [V].
        bus_v: voltage of V- against ground [V].

    Faults, in effect until undone:
        frozen: no conversion ends any more.
        brown_out(): the chip is reset, as by a dip of its supply.
    """

    def __init__(self, address: int = 0x40, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self.shunt_v, self.bus_v = 0.01, 12.0
        self.frozen = False
        self._clock = clock
        self.power_on()

    def power_on(self) -> None:
        self._pointer = CONFIG
        self._registers = {CONFIG: RESET, SHUNT: 0, BUS: 0, POWER: 0, CURRENT: 0, CALIBRATION: 0}
        self._begin()

    brown_out = power_on

    def _begin(self) -> None:
        config = self._registers[CONFIG]
        self._step = sample_s(config >> 3 & 15) + sample_s(config >> 7 & 15)
        self._ends = self._clock() + self._step
        self._registers[BUS] &= ~2

    def write(self, data: bytes) -> bool:
        if not data:
            return True
        self._pointer = data[0]
        if self._pointer > CALIBRATION:
            return True
        if len(data) >= 3:
            value = data[1] << 8 | data[2]
            if self._pointer == CONFIG:
                if value & 0x8000:
                    self.power_on()
                    return True
                self._registers[CONFIG] = value
                self._begin()
            elif self._pointer == CALIBRATION:
                self._registers[CALIBRATION] = value & 0xFFFE
        return True

    def read(self, n: int) -> bytes:
        self._settle()
        value = self._registers.get(self._pointer, 0)
        if self._pointer == POWER:
            self._registers[BUS] &= ~2  # conversion ready is cleared by reading the power
        return (value.to_bytes(2, "big") * (n // 2 + 1))[:n]

    def _settle(self) -> None:
        now, mode = self._clock(), self._registers[CONFIG] & 7
        if self.frozen or mode < 5 or now < self._ends:
            return
        self._ends = max(self._ends + self._step, now)
        config = self._registers[CONFIG]
        most = 4000 << (config >> 11 & 3)  # +-40, 80, 160, 320 mV in 10 uV
        shunt = max(-most, min(most, round(self.shunt_v / 10e-6)))
        rail = 8000 if config & 0x2000 else 4000  # 32 V, 16 V in 4 mV
        bus = max(0, min(rail, round(self.bus_v / 4e-3)))
        current = shunt * self._registers[CALIBRATION] // 4096
        self._registers[SHUNT] = shunt & 0xFFFF
        self._registers[CURRENT] = current & 0xFFFF
        self._registers[POWER] = abs(current * bus // 5000) & 0xFFFF
        self._registers[BUS] = bus << 3 | 2 | (abs(current) > 0x7FFF)
