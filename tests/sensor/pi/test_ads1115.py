"""The real Adafruit driver on a register model of the chip: readings, ranges, and each way in which it can lie."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sensor.pi.ads1115 import Adc
from services.sensor.pi.chips import ChipFault
from services.sensor.pi.map import FULL_SCALE, GAINS, Analog
from services.sensor.pi.map import Ads1115 as Wiring
from services.sensor.pi.scaling import PinFault
from tests.hardware.board.ads1115 import Ads1115
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.masters import BlinkaI2C


class Time:
    """A clock that moves when somebody sleeps, and a little with each look."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1e-5
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    def __init__(self, rate: int = 128) -> None:
        self.time = Time()
        self.chip = Ads1115(0x48, clock=self.time)
        self.bus = I2cBus([self.chip])
        wiring = Wiring.model_validate({"kind": "ads1115", "data_rate": rate})
        self.adc = Adc(wiring, BlinkaI2C(self.bus), self.time, self.time.sleep)

    def read(self, name: str = "pack-1/voltage", **wired: Any) -> float:
        return self.adc.read(name, Analog.model_validate({"chip": "adc-1"} | wired))

    def fault(self, **wired: Any) -> str:
        with pytest.raises((ChipFault, PinFault)) as caught:
            self.read(**wired)
        assert isinstance(caught.value, ChipFault | PinFault)
        return caught.value.reason


@pytest.mark.parametrize("rate", [8, 128, 860])
@pytest.mark.parametrize("gain", ["auto", "2/3", 1, 2])
def test_a_pin_reads_its_voltage(gain: object, rate: int) -> None:
    bench = Bench(rate)
    bench.chip.ain = [0.0, 1.234567, 0.0, 0.0]
    assert bench.read(pin=1, gain=gain) == pytest.approx(1.234567, abs=1e-4)
    assert bench.chip.conversions == 1


@pytest.mark.parametrize(("pins", "volt"), [((0, 1), 0.05), ((0, 3), -0.2), ((1, 3), -0.25), ((2, 3), 1.3)])
def test_two_pins_read_their_difference(pins: tuple[int, int], volt: float) -> None:
    bench = Bench()
    bench.chip.ain = [1.0, 0.95, 2.5, 1.2]
    assert bench.read(pins=pins) == pytest.approx(volt, abs=2e-4)


def test_divider_shunt_and_hall_give_the_channels_unit() -> None:
    bench = Bench()
    bench.chip.ain = [1.2, 0.0, 0.0375, 0.0]
    assert bench.read("a", pin=0, divider={"top": "100k", "bottom": "10k"}) == pytest.approx(13.2, abs=2e-3)
    shunt = {"pins": (2, 3), "shunt": {"ohm": "0.75m"}, "gain": 16}
    assert bench.read("b", **shunt) == pytest.approx(50.0, abs=0.02)
    assert bench.read("b", **shunt, invert=True) == pytest.approx(-50.0, abs=0.02)
    hall = {"volt_per_ampere": "40m", "zero_volt": 2.5}
    half = {"top": "10k", "bottom": "10k"}
    assert bench.read("c", pin=0, divider=half, hall=hall) == pytest.approx(-2.5, abs=0.02)
    assert bench.read("d", pin=0, linear={"per_volt": 100, "offset": -50}) == pytest.approx(70.0, abs=0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.02, 3.1), min_size=1, max_size=6))
def test_the_range_follows_the_voltage_and_no_reading_is_clipped(volts: list[float]) -> None:
    bench = Bench(860)
    for volt in volts:
        bench.chip.ain[0] = volt
        first = bench.read(pin=0)
        assert first == pytest.approx(volt, abs=2.5e-4)  # whatever range the last one left
        gain = GAINS[bench.chip.gain_code]
        assert volt < FULL_SCALE[gain]
        bench.read(pin=0)
        settled = GAINS[bench.chip.gain_code]
        assert volt < 0.95 * FULL_SCALE[settled]
        finer = [g for g in GAINS if g > settled]
        assert not finer or volt > 0.39 * FULL_SCALE[finer[0]]


def test_a_fine_range_resolves_microvolts() -> None:
    bench = Bench()
    bench.chip.ain = [0.010003, 0.0, 0.0, 0.0]
    bench.read(pins=(0, 1))
    assert bench.read(pins=(0, 1)) == pytest.approx(0.010003, abs=5e-6)


def test_a_voltage_beyond_the_fixed_range_is_saturated() -> None:
    bench = Bench()
    bench.chip.ain = [1.5, 0.0, 0.0, 0.0]
    assert bench.fault(pin=0, gain=4) == "saturated"
    assert bench.fault(pins=(0, 1), gain=16) == "saturated"
    bench.chip.ain[0] = 1.0
    assert bench.read(pin=0, gain=4) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("volt", "wired", "reason"),
    [
        (3.3, {}, "saturated"),  # shorted to the supply
        (9.9, {}, "saturated"),  # driven beyond it: the pin clamps
        (-0.25, {}, "reversed"),
        (0.0, {"divider": {"top": 1e5, "bottom": 1e4}}, "open"),  # no wire: the bottom resistor pulls it down
        (0.0, {"hall": {"volt_per_ampere": 0.04, "zero_volt": 2.5}}, "open"),
        (0.3, {"open_below_volt": 0.5}, "open"),
    ],
)
def test_what_no_wired_sensor_gives_is_a_fault(volt: float, wired: dict[str, Any], reason: str) -> None:
    bench = Bench()
    bench.chip.ain[0] = volt
    assert bench.fault(pin=0, **wired) == reason
    bench.chip.ain[0] = 1.5
    bench.read(pin=0, **wired)


def test_zero_is_zero_where_a_wire_may_carry_it() -> None:
    bench = Bench()
    bench.chip.ain = [0.0] * 4
    assert bench.read(pin=0, linear={"per_volt": 1.0}) == 0.0
    assert bench.read(pin=0, divider={"top": 1e5, "bottom": 1e4}, open_below_volt=0) == 0.0
    assert bench.read(pins=(0, 1), shunt={"ohm": 0.001}) == 0.0


@pytest.mark.parametrize("loose", [0, 1])
def test_a_loose_wire_at_a_shunt_is_open_and_not_a_current(loose: int) -> None:
    bench = Bench()
    shunt: dict[str, Any] = {"pins": (0, 1), "shunt": {"ohm": 0.001}, "check_open": True}
    bench.chip.ain = [0.02, 0.0, None, None]
    assert bench.read(**shunt) == pytest.approx(20.0, abs=0.2)
    bench.chip.ain[loose] = None
    assert bench.fault(**shunt) == "open"


def test_noise_between_the_conversions_of_a_reading_is_a_fault_where_a_limit_is_given() -> None:
    bench = Bench(860)
    bench.chip.ain[0], bench.chip.noise = 1.5, 0.1
    assert bench.fault(pin=0, samples=8, noise_volt=0.02) == "noisy"
    assert bench.read(pin=0, samples=8) == pytest.approx(1.5, abs=0.2)
    bench.chip.noise = 0.001
    assert bench.read(pin=0, samples=8, noise_volt=0.02) == pytest.approx(1.5, abs=0.002)


@pytest.mark.parametrize("after", range(2, 7))
def test_a_brown_out_in_mid_reading_is_never_a_number(after: int) -> None:
    """Write, ask, (wait, ask,) fetch, ask again: wherever the dip falls, the reading is right or refused."""
    bench = Bench()
    bench.chip.ain = [2.9, 0.3, 0.0, 0.0]
    bench.read(pin=0)
    bench.chip.brown_out_after(after)
    try:
        assert bench.read(pin=0) == pytest.approx(2.9, abs=1e-3)
    except ChipFault as fault:
        assert fault.reason == "reset"  # noqa: PT017 - one of two outcomes, by where the dip falls
    assert bench.read(pin=0) == pytest.approx(2.9, abs=1e-3)


def test_a_brown_out_between_the_result_and_its_proof_is_seen() -> None:
    reasons = []
    for after in range(12):
        bench = Bench()
        bench.read(pin=0)
        bench.chip.brown_out_after(after)
        try:
            bench.read(pin=0)
        except ChipFault as fault:
            reasons.append(fault.reason)
    assert len(reasons) >= 4
    assert set(reasons) == {"reset"}


def test_a_chip_that_does_not_convert_is_stuck_and_one_that_never_ends_times_out() -> None:
    bench = Bench()
    bench.read(pin=0)
    bench.chip.frozen = True
    assert bench.fault(pin=0) == "stuck"
    bench.chip.frozen, bench.chip.endless = False, True
    begun = bench.time.now
    assert bench.fault(pin=0) == "timeout"
    assert bench.time.now - begun < 0.1  # the driver alone would wait for ever
    bench.chip.endless = False
    bench.chip.power_on()
    assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("rate", "busy_s"), [(128, 0.0), (128, 0.005), (128, 0.02), (860, 0.002), (8, 0.05)])
def test_a_chip_that_hangs_gives_no_number_however_busy_the_bus(
    rate: int, busy_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last result is ready at each look, and a look that comes late finds nothing strange in that."""
    bench = Bench(rate)
    order = bench.bus.write

    def late(address: int, data: bytes) -> None:
        order(address, data)
        bench.time.sleep(busy_s)

    monkeypatch.setattr(bench.bus, "write", late)
    for _ in range(3):
        assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)
    bench.chip.frozen = True
    bench.time.sleep(1.0)
    assert bench.fault(pin=0) == "stuck"
    bench.chip.frozen = False
    assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("busy_s", [0.03, 0.2, 2.0])
def test_a_busy_bus_is_no_late_converter(busy_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order waits for others on the bus, and an answer for the computer; a conversion may take 62 ms here."""
    bench = Bench()
    order, answer = bench.bus.write, bench.bus.read

    def late_order(address: int, data: bytes) -> None:
        if len(data) == 3:  # a register and what is written to it
            bench.time.sleep(busy_s)
        order(address, data)

    def late_answer(address: int, n: int) -> bytes:
        read = answer(address, n)
        bench.time.sleep(busy_s)
        return read

    monkeypatch.setattr(bench.bus, "write", late_order)
    monkeypatch.setattr(bench.bus, "read", late_answer)
    for _ in range(3):
        assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)
    bench.chip.endless = True
    assert bench.fault(pin=0) == "timeout"


def unplug(bench: Bench) -> Callable[[], None]:
    bench.bus.unplug(0x48)
    return lambda: bench.bus.plug(0x48)


def hold(bench: Bench) -> Callable[[], None]:
    bench.bus.held = True
    return lambda: setattr(bench.bus, "held", False)


@pytest.mark.parametrize("known", [True, False], ids=["was read before", "from the beginning"])
@pytest.mark.parametrize(("disturb", "reason"), [(unplug, "no_answer"), (hold, "bus_locked")])
def test_a_pulled_chip_and_a_held_bus_are_told_apart_and_come_back(
    disturb: Callable[[Bench], Callable[[], None]], reason: str, known: bool
) -> None:
    bench = Bench()
    if known:
        bench.read(pin=0)
    undo = disturb(bench)
    assert bench.fault(pin=0) == reason
    assert bench.fault(pin=0) == reason
    undo()
    assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)


def test_noise_on_the_wire_that_spoils_one_transfer_costs_no_reading() -> None:
    bench = Bench()
    bench.read(pin=0)
    bench.bus.refuse(0x48, 1)
    assert bench.read(pin=0) == pytest.approx(0.5, abs=1e-3)
    bench.bus.refuse(0x48, 50)
    assert bench.fault(pin=0) == "no_answer"
