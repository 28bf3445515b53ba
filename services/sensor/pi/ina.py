"""Current sensors on a shunt: INA219 through Adafruit's driver, INA226 by its register table on Adafruit's register
library (nobody maintains a Python driver of it). Registers: TI's SBOS448G and SBOS547B.

Current is taken from the shunt's voltage, not from the chip's own current register: that needs a calibration value in
the chip, which a brown-out clears. Each reading is proved: the configuration is what was written, and a new conversion
has ended since the last reading.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from adafruit_bus_device.i2c_device import I2CDevice
from adafruit_ina219 import INA219, ADCResolution
from adafruit_register.i2c_struct import ROUnaryStruct, UnaryStruct

from services.sensor.pi.chips import ChipFault, patiently, transfers
from services.sensor.pi.map import Ina219, Ina226, Meter
from services.sensor.pi.scaling import PinFault

PATIENCE: Final = 1.5  # conversions
SPARE_S: Final = 0.05
TEXAS_INSTRUMENTS: Final = 0x5449
INA226_DIE: Final = 0x2260
CONVERSION_READY: Final = 0x0008  # of the mask/enable register; reading it clears it
RESERVED: Final = 0x4000  # bit 14 of an INA226's configuration reads as 1


class Wired(Protocol):
    """A chip as `Shunt` needs it: raw numbers and proofs."""

    rail: int  # the shunt register's greatest code
    shunt_lsb: float  # V
    bus_rail: float  # V
    conversion_s: float  # of shunt and bus, averaged

    def configured(self) -> bool:
        """Whether the configuration is what was written."""

    def converted(self) -> bool:
        """Whether a conversion has ended since the last call."""

    def shunt_code(self) -> int: ...

    def bus_volt(self) -> float: ...


class WiredIna219:
    rail, shunt_lsb, bus_rail = 32_000, 10e-6, 32.0

    def __init__(self, i2c: object, chip: Ina219) -> None:
        self._driver = INA219(i2c, chip.address)  # sets +-320 mV, 32 V, both measured for ever
        self._averages = ADCResolution.ADCRES_12BIT_1S if chip.averages == 1 else 8 + chip.averages.bit_length() - 1
        self.conversion_s = 2 * 532e-6 * chip.averages
        self._driver.bus_adc_resolution = self._averages
        self._driver.shunt_adc_resolution = self._averages

    def configured(self) -> bool:
        d = self._driver
        return (d.mode, d.gain, d.shunt_adc_resolution, d.bus_voltage_range) == (7, 3, self._averages, 1)

    def converted(self) -> bool:
        ready = bool(self._driver.conversion_ready)
        _ = self._driver.raw_power  # clears it
        return ready

    def shunt_code(self) -> int:
        return int(self._driver.raw_shunt_voltage)

    def bus_volt(self) -> float:
        return float(self._driver.bus_voltage)


class WiredIna226:
    rail, shunt_lsb, bus_rail = 0x7FFF, 2.5e-6, 36.0

    _config = UnaryStruct(0x00, ">H")
    _shunt = ROUnaryStruct(0x01, ">h")  # 2.5 uV
    _bus = ROUnaryStruct(0x02, ">H")  # 1.25 mV
    _mask = ROUnaryStruct(0x06, ">H")
    _manufacturer = ROUnaryStruct(0xFE, ">H")
    _die = ROUnaryStruct(0xFF, ">H")

    def __init__(self, i2c: object, chip: Ina226) -> None:
        self.i2c_device = I2CDevice(i2c, chip.address)
        if self._manufacturer != TEXAS_INSTRUMENTS or self._die & 0xFFF0 != INA226_DIE:
            raise ChipFault("wrong_chip")
        step = (1, 4, 16, 64, 128).index(chip.averages)
        self.conversion_s = 2 * 1.1e-3 * chip.averages
        self._wanted = RESERVED | step << 9 | 4 << 6 | 4 << 3 | 7  # 1.1 ms each, both measured for ever
        self._config = self._wanted

    def configured(self) -> bool:
        return bool(self._config == self._wanted)

    def converted(self) -> bool:
        return bool(self._mask & CONVERSION_READY)

    def shunt_code(self) -> int:
        return int(self._shunt)

    def bus_volt(self) -> float:
        return int(self._bus) * 1.25e-3


class ShuntMeter:
    """One INA219 or INA226."""

    def __init__(
        self,
        chip: Ina219 | Ina226,
        i2c: object,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chip, self._i2c, self._clock, self._sleep = chip, i2c, clock, sleep
        self._wired: Wired | None = None

    def read(self, inputs: dict[str, Meter]) -> dict[str, float | PinFault]:
        """The readings of one conversion, in A and V: current > 0 flows from V+ to V- (`invert` turns it).

        Raises:
            ChipFault: the chip gave none.
        """

        def attempt() -> tuple[Wired, int, float]:
            with transfers():
                wired = self._opened()
                if not wired.configured():
                    raise ChipFault("reset")
                self._await_conversion(wired)
                return wired, wired.shunt_code(), wired.bus_volt()

        try:
            wired, code, volt = patiently(attempt)
        except ChipFault:
            self._wired = None  # begin with it from the beginning
            raise
        return {name: self._reading(one, wired, code, volt) for name, one in inputs.items()}

    def _reading(self, given: Meter, wired: Wired, code: int, volt: float) -> float | PinFault:
        if given.measure == "voltage":
            if volt >= wired.bus_rail - 1e-9:
                return PinFault("saturated")
            return PinFault("open") if volt < given.open_below_volt else volt
        if abs(code) >= wired.rail:
            return PinFault("saturated")
        value = code * wired.shunt_lsb / self._chip.shunt_ohm
        return -value if given.invert else value

    def _opened(self) -> Wired:
        if self._wired is None:
            wired: Wired
            if isinstance(self._chip, Ina219):
                wired = WiredIna219(self._i2c, self._chip)
            else:
                wired = WiredIna226(self._i2c, self._chip)
            wired.converted()  # of before the configuration was written
            self._wired = wired
        return self._wired

    def _await_conversion(self, wired: Wired) -> None:
        begun = self._clock()
        while not wired.converted():
            if self._clock() - begun > PATIENCE * wired.conversion_s + SPARE_S:
                raise ChipFault("stuck")
            self._sleep(wired.conversion_s / 4)
