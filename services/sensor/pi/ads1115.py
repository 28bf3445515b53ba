"""ADS1115 through Adafruit's driver, with what a safety monitor needs beside it: every conversion is proved.

The driver waits for the end of a conversion for ever, and believes what it reads. A chip that was reset in between (a
brown-out: gain +-2.048 V, no conversion) or that hangs would give plausible numbers, so the configuration is read back
before and after each result. Registers: TI's SBAS444E.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Final

from adafruit_ads1x15.ads1x15 import Mode
from adafruit_ads1x15.ads1115 import ADS1115

from services.sensor.pi.chips import ChipFault, patiently, transfers
from services.sensor.pi.map import DIFFERENTIAL, FULL_SCALE, GAINS, Ads1115, Analog
from services.sensor.pi.scaling import NEAR_GROUND_VOLT, PinFault, check_pin, to_reading

CONFIG: Final = 0x01
READY: Final = 0x8000
WITHOUT_READY: Final = 0x7FFF
SLOWER: Final = 1.1  # than the nominal rate, by the data sheet's 10 %
PATIENCE: Final = 1.5
SPARE_S: Final = 0.05
FULL_CODE: Final = 32_767
TOO_FULL: Final = 0.95  # of the range: take a coarser one, now
HALF_EMPTY: Final = 0.40  # of the next finer range: take that one, next time
GROUND_GAIN: Final = 1.0
UNTIMED: Final = 0.5  # of a conversion's time: within it none can have ended
PROOF_S: Final = 1.0  # so often a chip that was never seen converting proves that it does
SLOWEST: Final = 8  # conversions a second; its bits in the configuration are 0
RATE_BITS: Final = 0x00E0
PROOFS: Final = 3


class ProvedADS1115(ADS1115):
    """The driver, with its wait bounded and its configuration read back.

    Raises:
        ChipFault: see chips.py.
        OSError: a transfer failed.
    """

    def __init__(
        self,
        i2c: object,
        address: int,
        data_rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._written, self._asked, self._begun = 0, 0.0, 0.0
        self._proved_at = -inf
        super().__init__(i2c, address=address, data_rate=data_rate, mode=Mode.SINGLE)

    def _write_register(self, reg: int, value: int) -> None:
        if reg == CONFIG:
            self._written, self._asked = value, self._clock()
        super()._write_register(reg, value)
        if reg == CONFIG:
            self._begun = self._clock()

    def _conversion_complete(self) -> int:
        """Wait until the conversion that was just begun is done. The driver asks this in a loop.

        It began while the order was on the bus and is looked at while the question is: on a busy bus or computer both
        take long. So a chip is late by the time between them, and early by the time around them.
        """
        nominal = 1 / self.data_rate
        first = True
        while True:
            passed = self._clock() - self._begun
            config = self._checked()
            if config & READY:
                if not first:
                    self._proved_at = self._clock()
                elif self._clock() - self._asked < UNTIMED * nominal:
                    raise ChipFault("stuck")  # ready before it can be: it never began
                return config & READY
            if passed >= PATIENCE * nominal + SPARE_S:
                raise ChipFault("timeout")
            self._sleep(max(SLOWER * nominal - (self._clock() - self._begun), nominal / 8))
            first = False

    def _checked(self) -> int:
        config = int(self._read_register(CONFIG))
        if (config ^ self._written) & WITHOUT_READY:
            raise ChipFault("reset")
        return config

    def convert(self, mux: int, gain: float) -> int:
        """One conversion; the signed code."""
        self._gain = gain  # its setter would write the configuration once more
        code = int(self.read(mux))
        self._checked()  # not reset while the result was fetched
        if self._clock() - self._proved_at >= PROOF_S:
            self._prove()
        return code

    def _prove(self) -> None:
        """See it convert: a chip that hangs has its last result ready at once, and so has a quick one on a busy bus.

        One conversion at the slowest rate cannot be over at the first look, unless that comes too late to tell.
        """
        for _ in range(PROOFS):
            self._write_register(CONFIG, self._written & ~RATE_BITS)
            if not self._checked() & READY:
                self._sleep(SLOWER / SLOWEST)
                self._proved_at = self._clock()
                return
            if self._clock() - self._asked < UNTIMED / SLOWEST:
                break
        raise ChipFault("stuck")


@dataclass(slots=True)
class _Range:
    """The range of one input: fixed, or chosen by what was read last."""

    fixed: float | None
    gain: float

    def coarser(self, code: int) -> bool:
        """Take a coarser range for this reading, if there is one and it is needed."""
        at = GAINS.index(self.gain)
        if self.fixed is None and at > 0 and abs(code) >= TOO_FULL * FULL_CODE:
            self.gain = GAINS[at - 1]
            return True
        return False

    def finer(self, volt: float) -> None:
        while self.fixed is None and self.gain != GAINS[-1]:
            finer = GAINS[GAINS.index(self.gain) + 1]
            if abs(volt) > HALF_EMPTY * FULL_SCALE[finer]:
                break
            self.gain = finer


class Adc:
    """One ADS1115 and the state of its inputs."""

    def __init__(
        self,
        chip: Ads1115,
        i2c: object,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chip, self._i2c, self._clock, self._sleep = chip, i2c, clock, sleep
        self._driver: ProvedADS1115 | None = None
        self._ranges: dict[str, _Range] = {}

    def read(self, name: str, given: Analog) -> float:
        """A reading in the channel's unit.

        Args:
            name: of the input, to remember its range.
        Raises:
            ChipFault: the chip gave none.
            PinFault: the pin's voltage shows a broken wire.
        """
        chosen = self._ranges.get(name)
        if chosen is None:
            fixed = None if given.gain == "auto" else given.gain
            chosen = self._ranges[name] = _Range(fixed, fixed or GAINS[0])
        if given.check_open and given.pins is not None:
            for pin in given.pins:
                if abs(self._volt(4 + pin, _Range(GROUND_GAIN, GROUND_GAIN))) > NEAR_GROUND_VOLT:
                    raise PinFault("open")
        mux = 4 + given.pin if given.pin is not None else DIFFERENTIAL.index(given.pins or (0, 1))
        volts = [self._volt(mux, chosen) for _ in range(given.samples)]
        if given.noise_volt is not None and max(volts) - min(volts) > given.noise_volt:
            raise PinFault("noisy")
        volt = fmean(volts)
        if given.pin is not None:
            check_pin(volt, given, self._chip)
        chosen.finer(volt)
        return to_reading(volt, given)

    def _volt(self, mux: int, chosen: _Range) -> float:
        """Voltage at the input [V]; a coarser range is taken as needed."""
        while True:
            code = self._convert(mux, chosen.gain)
            if not chosen.coarser(code):
                break
        if code in (FULL_CODE, -FULL_CODE - 1):
            raise PinFault("saturated")
        return code / (FULL_CODE + 1) * FULL_SCALE[chosen.gain]

    def _convert(self, mux: int, gain: float) -> int:
        def attempt() -> int:
            with transfers():
                return self._opened().convert(mux, gain)

        try:
            return patiently(attempt)
        except ChipFault:
            self._driver = None  # begin with it from the beginning
            raise

    def _opened(self) -> ProvedADS1115:
        if self._driver is None:
            at, rate = self._chip.address, self._chip.data_rate
            self._driver = ProvedADS1115(self._i2c, at, rate, self._clock, self._sleep)
        return self._driver
