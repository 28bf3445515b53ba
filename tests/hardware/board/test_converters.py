"""The models of ADS1115, INA219 and INA226 against what their data sheets say."""

from collections.abc import Callable

import pytest

from tests.hardware.board.ads1115 import CONFIG, CONVERSION, HIGH, LOW, RESET, Ads1115
from tests.hardware.board.ina219 import Ina219
from tests.hardware.board.ina226 import Ina226


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def register(chip: Ads1115 | Ina219 | Ina226, number: int) -> int:
    assert chip.write(bytes([number]))
    return int.from_bytes(chip.read(2), "big")


def store(chip: Ads1115 | Ina219 | Ina226, number: int, value: int) -> None:
    assert chip.write(bytes([number]) + value.to_bytes(2, "big"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_converter_after_power_on(clock: Clock) -> None:
    chip = Ads1115(clock=clock)
    assert [register(chip, n) for n in range(4)] == [0, RESET, 0x8000, 0x7FFF]


@pytest.mark.parametrize(("rate_bits", "rate"), [(0, 8), (4, 128), (7, 860)])
def test_a_conversion_takes_its_time_and_shows_it(clock: Clock, rate_bits: int, rate: int) -> None:
    chip = Ads1115(clock=clock)
    chip.ain = [1.024, 0.0, 0.0, 0.0]
    store(chip, CONFIG, 0xC103 | rate_bits << 5 | 2 << 9)  # A0, +-2.048 V, single-shot
    clock.now = 0.99 / rate
    assert not register(chip, CONFIG) & 0x8000
    clock.now = 1.01 / rate
    assert register(chip, CONFIG) & 0x8000
    assert register(chip, CONVERSION) == 0x4000
    clock.now = 10.0
    assert chip.conversions == 1


def test_continuous_conversion_goes_on(clock: Clock) -> None:
    chip = Ads1115(clock=clock)
    store(chip, CONFIG, 0x4283)  # A0, +-4.096 V, continuous, 128 a second
    for volt in (0.5, 1.0):
        chip.ain[0] = volt
        clock.now += 0.02
        assert register(chip, CONVERSION) == pytest.approx(volt / 4.096 * 32768, abs=1)


@pytest.mark.parametrize(("volt", "code"), [(9.0, 0x7FFF), (-0.1, 0x8000), (None, 0x7FFF)])
def test_codes_end_at_the_range(clock: Clock, volt: float | None, code: int) -> None:
    chip = Ads1115(clock=clock)
    chip.ain[0] = volt
    store(chip, CONFIG, 0xC183 | 5 << 9)  # A0, +-0.256 V
    clock.now = 1.0
    found = register(chip, CONVERSION)
    assert found == code if volt != -0.1 else found == 0x10000 - round(0.1 / 0.256 * 32768)


def test_the_comparator_latches_until_the_result_is_read(clock: Clock) -> None:
    chip = Ads1115(clock=clock)
    store(chip, HIGH, 0x4000)
    store(chip, LOW, 0x2000)
    store(chip, CONFIG, 0x4284 | 0)  # continuous, +-4.096 V, latching, after one conversion
    chip.ain[0] = 3.0
    clock.now = 0.01
    assert chip.alert
    chip.ain[0] = 0.1
    clock.now = 0.02
    assert chip.alert
    register(chip, CONVERSION)
    assert not chip.latched


def test_a_brown_out_falls_between_two_transfers(clock: Clock) -> None:
    chip = Ads1115(clock=clock)
    store(chip, CONFIG, 0xC183 | 5 << 9)
    chip.brown_out_after(1)
    assert chip.write(bytes([CONFIG]))
    assert int.from_bytes(chip.read(2), "big") == 0  # the pointer is reset, too
    assert register(chip, CONFIG) == RESET


@pytest.mark.parametrize(("make", "reset"), [(Ina219, 0x399F), (Ina226, 0x4127)])
def test_a_meter_after_power_on_and_after_the_reset_bit(
    clock: Clock, make: Callable[..., Ina219 | Ina226], reset: int
) -> None:
    chip = make(0x40, clock)
    assert register(chip, 0) == reset
    store(chip, 0, 0x4000)
    store(chip, 5, 0x1000)
    store(chip, 0, 0x8000)
    assert (register(chip, 0), register(chip, 5)) == (reset, 0)


def test_ina219_counts_and_its_ready_bit(clock: Clock) -> None:
    chip = Ina219(0x40, clock)
    chip.shunt_v, chip.bus_v = -0.05, 12.0
    assert not register(chip, 2) & 2
    clock.now = 0.002
    assert register(chip, 1) == 0x10000 - 5000
    assert register(chip, 2) == 3000 << 3 | 2
    register(chip, 3)
    assert not register(chip, 2) & 2
    clock.now = 0.004
    assert register(chip, 2) & 2


def test_ina226_counts_its_ready_bit_and_its_latched_alert(clock: Clock) -> None:
    chip = Ina226(0x40, clock)
    assert (register(chip, 0xFE), register(chip, 0xFF)) == (0x5449, 0x2260)
    store(chip, 7, 8000)  # bus voltage over 10 V, latched
    store(chip, 6, 0x2001)
    chip.bus_v = 12.0
    clock.now = 0.003
    assert (register(chip, 2), register(chip, 1)) == (9600, 400)
    assert chip.alert
    chip.bus_v = 5.0
    clock.now = 0.01
    assert chip.alert
    assert register(chip, 6) & 0x18 == 0x18  # ready and alert; reading ends both
    assert register(chip, 6) & 0x18 == 0
