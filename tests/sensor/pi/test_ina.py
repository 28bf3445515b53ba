"""INA219 (the real Adafruit driver) and INA226 on register models: current, voltage, and proof of each reading."""

from typing import Any

import pytest

from services.sensor.pi.chips import ChipFault
from services.sensor.pi.ina import ShuntMeter
from services.sensor.pi.map import Ina219 as Wiring219
from services.sensor.pi.map import Ina226 as Wiring226
from services.sensor.pi.map import Meter
from services.sensor.pi.scaling import PinFault
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.ina219 import Ina219
from tests.hardware.board.ina226 import Ina226
from tests.hardware.board.masters import BlinkaI2C

KINDS = ["ina219", "ina226"]


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
    def __init__(self, kind: str, averages: int = 16, shunt_ohm: object = "1.5m") -> None:
        self.time = Time()
        wired = {"kind": kind, "address": 0x40, "shunt_ohm": shunt_ohm, "averages": averages}
        wiring = (Wiring219 if kind == "ina219" else Wiring226).model_validate(wired)
        self.chip: Ina219 | Ina226 = (Ina219 if kind == "ina219" else Ina226)(0x40, self.time)
        self.bus = I2cBus([self.chip])
        self.meter = ShuntMeter(wiring, BlinkaI2C(self.bus), self.time, self.time.sleep)

    def read(self, **changed: Any) -> dict[str, float | PinFault]:
        self.time.now += 1.0
        return self.meter.read(
            {
                "pack-1/current": Meter(chip="m", measure="current", **changed),
                "pack-1/voltage": Meter(chip="m", measure="voltage"),
            }
        )

    def fault(self) -> str:
        with pytest.raises(ChipFault) as caught:
            self.read()
        return caught.value.reason


@pytest.mark.parametrize("averages", [1, 4, 16, 64, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_current_and_voltage(kind: str, averages: int) -> None:
    bench = Bench(kind, averages)
    for shunt_v, bus_v in ((0.03, 13.2), (-0.015, 12.8), (0.0, 0.1)):
        bench.chip.shunt_v, bench.chip.bus_v = shunt_v, bus_v
        read = bench.read()
        assert read["pack-1/current"] == pytest.approx(shunt_v / 1.5e-3, abs=0.005)
        assert read["pack-1/voltage"] == pytest.approx(bus_v, abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shunt_mounted_the_other_way_round_is_inverted(kind: str) -> None:
    bench = Bench(kind)
    bench.chip.shunt_v = -0.03
    assert bench.read(invert=True)["pack-1/current"] == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize(("kind", "volt"), [("ina219", 0.4), ("ina219", -0.4), ("ina226", 0.09), ("ina226", -0.09)])
def test_a_current_beyond_the_range_is_a_fault_and_the_voltage_is_read_all_the_same(kind: str, volt: float) -> None:
    bench = Bench(kind)
    bench.chip.shunt_v = volt
    read = bench.read()
    fault = read["pack-1/current"]
    assert isinstance(fault, PinFault)
    assert fault.reason == "saturated"
    assert read["pack-1/voltage"] == pytest.approx(12.0, abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_a_brown_out_that_lost_the_configuration_is_seen_once_and_mended(kind: str) -> None:
    bench = Bench(kind, 64)
    bench.read()
    bench.chip.brown_out()
    assert bench.fault() == "reset"
    assert bench.read()["pack-1/voltage"] == pytest.approx(12.0, abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_that_no_longer_converts_is_stuck(kind: str) -> None:
    bench = Bench(kind)
    bench.read()
    bench.chip.frozen = True
    bench.chip.shunt_v = 0.06
    assert bench.fault() == "stuck"
    bench.chip.frozen = False
    assert bench.read()["pack-1/current"] == pytest.approx(40.0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reading_waits_for_a_conversion_that_has_not_ended(kind: str) -> None:
    bench = Bench(kind, 128)
    bench.read()
    bench.chip.bus_v = 10.0
    begun = bench.time.now
    read = bench.meter.read({"v": Meter(chip="m", measure="voltage")})
    assert read["v"] == pytest.approx(10.0, abs=0.004)
    assert 0.0 < bench.time.now - begun < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_pulled_chip_and_a_held_bus_are_told_apart_and_come_back(kind: str) -> None:
    bench = Bench(kind)
    bench.read()
    bench.bus.unplug(0x40)
    assert bench.fault() == "no_answer"
    bench.bus.held = True
    assert bench.fault() == "bus_locked"
    bench.bus.held = False
    bench.bus.plug(0x40)
    assert bench.read()["pack-1/voltage"] == pytest.approx(12.0, abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_a_voltage_pin_without_a_wire_is_open_unless_the_load_may_be_off(kind: str) -> None:
    bench = Bench(kind)
    bench.chip.bus_v = 0.0
    read = bench.read()
    assert isinstance(read["pack-1/voltage"], PinFault)
    assert read["pack-1/voltage"].reason == "open"
    assert read["pack-1/current"] == pytest.approx(bench.chip.shunt_v / 1.5e-3, abs=0.01)
    off = bench.meter.read({"v": Meter(chip="m", measure="voltage", open_below_volt=0)})
    assert off == {"v": 0.0}


def test_another_chip_at_the_address_of_an_ina226_is_not_believed() -> None:
    bench = Bench("ina226")
    assert isinstance(bench.chip, Ina226)
    bench.chip.die = 0x2270
    assert bench.fault() == "wrong_chip"
