"""The ADS1115 converter, register by register. Source: TI's SBAS444E, sections 8.4 to 9.6."""

import random
import time
from collections.abc import Callable
from typing import Final

CONVERSION, CONFIG, LOW, HIGH = range(4)
RESET: Final = 0x8583  # configuration after power-on: A0-A1, +-2.048 V, single-shot, 128 a second, comparator off
FULL_SCALE: Final = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)
RATES: Final = (8, 16, 32, 64, 128, 250, 475, 860)
PAIRS: Final = ((0, 1), (0, 3), (1, 3), (2, 3))
FLOATING_V: Final = 0.57  # what a pin without a wire is seen at, with either supply


class Ads1115:
    """A `Chip` of the bus.

    Args:
        supply: VDD [V]; an input is clamped 0.3 V beyond it.
        clock: steady time [s].

    Attributes:
        ain: voltages at the pins against ground [V]; None: no wire, the pin floats.
        noise: standard deviation of what is converted [V].

    Faults, in effect until undone:
        frozen: conversions are accepted and never done; the ready bit stays.
        endless: conversions begin and never end.
        brown_out_after(n): after n more transfers the chip is reset, as by a dip of its supply.
    """

    def __init__(self, address: int = 0x48, supply: float = 3.3, clock: Callable[[], float] = time.monotonic) -> None:
        self.address, self.supply = address, supply
        self.ain: list[float | None] = [0.5, 1.0, 1.5, 2.0]
        self.noise = 0.0
        self.frozen = self.endless = False
        self.conversions = 0
        self._clock = clock
        self._random = random.Random(address)
        self._brown_out: int | None = None
        self.power_on()

    def power_on(self) -> None:
        """Forget everything."""
        self._pointer = CONVERSION
        self._registers = {CONVERSION: 0, CONFIG: RESET, LOW: 0x8000, HIGH: 0x7FFF}
        self._ends: float | None = None  # of the conversion that goes on
        self._beyond = 0  # conversions in a row beyond the comparator's thresholds
        self.latched = False

    def brown_out_after(self, transfers: int) -> None:
        self._brown_out = transfers

    @property
    def gain_code(self) -> int:
        return self._registers[CONFIG] >> 9 & 7

    @property
    def alert(self) -> bool:
        """Whether ALERT/RDY is asserted (its pin's level depends on the polarity bit)."""
        self._settle()
        return self.latched

    def write(self, data: bytes) -> bool:
        self._dip()
        if not data:
            return True
        self._pointer = data[0] & 3
        if len(data) >= 3:
            self._store(self._pointer, data[1] << 8 | data[2])
        return True

    def read(self, n: int) -> bytes:
        self._dip()
        self._settle()
        value = self._registers[self._pointer]
        if self._pointer == CONFIG:
            value = value & 0x7FFF | (0 if self._ends is not None else 0x8000)
        if self._pointer == CONVERSION and self._registers[CONFIG] & 4:
            self.latched = False  # the latching comparator is released by reading the result
        pair = value.to_bytes(2, "big")
        return (pair * (n // 2 + 1))[:n]

    def _dip(self) -> None:
        if self._brown_out is not None:
            self._brown_out -= 1
            if self._brown_out < 0:
                self._brown_out = None
                self.power_on()

    def _store(self, register: int, value: int) -> None:
        if register in (LOW, HIGH):
            self._registers[register] = value
        elif register == CONFIG:
            self._settle()
            self._registers[CONFIG] = value
            continuous = not value & 0x0100
            if (value & 0x8000 or continuous) and not self.frozen:
                self._ends = self._clock() + 1 / RATES[value >> 5 & 7]

    def _settle(self) -> None:
        """Carry out the conversions that have ended by now."""
        now = self._clock()
        while self._ends is not None and now >= self._ends and not self.endless:
            self._registers[CONVERSION] = self._code() & 0xFFFF
            self.conversions += 1
            self._compare()
            config = self._registers[CONFIG]
            step = 1 / RATES[config >> 5 & 7]
            self._ends = None if config & 0x0100 else max(self._ends + step, now - step)

    def _code(self) -> int:
        config = self._registers[CONFIG]
        mux = config >> 12 & 7
        volt = self._pin(PAIRS[mux][0]) - self._pin(PAIRS[mux][1]) if mux < 4 else self._pin(mux - 4)
        volt += self._random.gauss(0.0, self.noise) if self.noise else 0.0
        return max(-0x8000, min(0x7FFF, round(volt / FULL_SCALE[config >> 9 & 7] * 0x8000)))

    def _pin(self, number: int) -> float:
        volt = self.ain[number]
        return FLOATING_V if volt is None else max(-0.3, min(self.supply + 0.3, volt))

    def _compare(self) -> None:
        """The comparator: asserted after 1, 2 or 4 conversions in a row beyond its thresholds; 3 turns it off."""
        config = self._registers[CONFIG]
        code, low, high = (_signed(self._registers[r]) for r in (CONVERSION, LOW, HIGH))
        queue = config & 3
        if queue == 3:
            return
        if low >= 0 > high:  # conversion-ready mode: the upper bit of high is set, of low clear
            self.latched = True
            return
        window, latching = config & 0x10, config & 4
        beyond = code > high or bool(window and code < low)
        self._beyond = self._beyond + 1 if beyond else 0
        if self._beyond >= (1, 2, 4)[queue]:
            self.latched = True
        elif not latching and (window or code < low):
            self.latched = False


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value
