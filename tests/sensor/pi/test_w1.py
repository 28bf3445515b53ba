"""The real w1thermsensor on files as the kernel shows them: temperatures, and each way in which a probe fails."""

import logging
from pathlib import Path

import pytest

from services.sensor.pi.w1 import ProbeFault, Thermometer
from tests.hardware.board.w1_folder import W1Folder

PROBE = "28-0000012345ab"


@pytest.fixture
def w1(tmp_path: Path) -> W1Folder:
    return W1Folder(tmp_path / "devices")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def thermometer(w1: W1Folder, resolution: int = 12) -> Thermometer:
    return Thermometer(w1.path, PROBE, resolution, Clock())


def fault(probe: Thermometer) -> str:
    with pytest.raises(ProbeFault) as caught:
        probe.read()
    return caught.value.reason


@pytest.mark.parametrize("celsius", [-55.0, -10.125, -0.0625, 0.0, 21.5, 84.9375, 85.0625, 125.0])
@pytest.mark.parametrize("clone", [False, True])
def test_a_probe_reads_its_temperature(w1: W1Folder, celsius: float, clone: bool) -> None:
    w1.measure(PROBE, celsius, clone=clone)
    assert thermometer(w1).read() == celsius


def test_a_bad_crc_is_a_fault_and_the_next_reading_is_good(w1: W1Folder) -> None:
    probe = thermometer(w1)
    w1.measure(PROBE, 21.5, crc=False)
    assert fault(probe) == "crc"
    w1.measure(PROBE, 21.5)
    assert probe.read() == 21.5


def test_an_empty_read_and_a_line_held_low_are_no_temperature(w1: W1Folder) -> None:
    probe = thermometer(w1)
    w1.zeros(PROBE)
    assert fault(probe) == "no_data"  # 0.0 degC with a good CRC
    w1.empty(PROBE)
    assert fault(probe) == "no_data"
    (w1.path / PROBE / "w1_slave").write_text("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n")
    assert fault(probe) == "no_data"
    (w1.path / PROBE / "w1_slave").unlink()  # the kernel's I/O error for a failed conversion
    assert fault(probe) == "no_data"


def test_zero_degrees_is_a_temperature(w1: W1Folder) -> None:
    w1.measure(PROBE, 0.0)
    assert thermometer(w1).read() == 0.0


def test_a_probe_that_vanishes_is_gone_and_comes_back_by_itself(w1: W1Folder) -> None:
    probe = thermometer(w1)
    assert fault(probe) == "gone"  # not there at start
    w1.measure(PROBE, 21.5)
    assert probe.read() == 21.5
    w1.pull(PROBE)
    assert fault(probe) == "gone"
    w1.power_on(PROBE)
    assert fault(probe) == "power_on"
    w1.measure(PROBE, 22.0)
    assert probe.read() == 22.0


@pytest.mark.parametrize("clone", [False, True])
def test_the_power_on_value_is_no_temperature(w1: W1Folder, clone: bool) -> None:
    probe = thermometer(w1)
    w1.power_on(PROBE)
    assert fault(probe) == "power_on"
    for _ in range(3):
        w1.measure(PROBE, 21.5, clone=clone)
        assert probe.read() == 21.5
        w1.power_on(PROBE)  # its supply dips again and again
        assert fault(probe) == "power_on"


@pytest.mark.parametrize("clone", [False, True])
def test_85_degrees_are_believed_when_the_probe_was_near(w1: W1Folder, clone: bool) -> None:
    probe = thermometer(w1)
    for celsius in (82.0, 83.5, 85.0, 85.0, 86.5, 85.0):
        w1.measure(PROBE, celsius, clone=clone)
        assert probe.read() == celsius


def test_85_degrees_that_a_genuine_probe_has_measured_need_no_neighbours(w1: W1Folder) -> None:
    probe = thermometer(w1)
    w1.measure(PROBE, 85.0)
    assert probe.read() == 85.0


def test_a_genuine_probe_near_85_degrees_that_loses_power_is_not_believed(w1: W1Folder) -> None:
    probe = thermometer(w1)
    w1.measure(PROBE, 84.0)
    assert probe.read() == 84.0
    w1.power_on(PROBE)
    assert fault(probe) == "power_on"


def test_a_supply_that_breaks_down_in_a_conversion_is_no_temperature(w1: W1Folder) -> None:
    probe = thermometer(w1)
    w1.scratchpad(PROBE, 0x07FF, 0x0C)
    assert fault(probe) == "no_power"
    w1.measure(PROBE, 126.5)  # hotter than the data sheet promises: no evidence of a fault
    assert probe.read() == 126.5


def test_the_resolution_is_set_and_set_again_when_the_probe_has_forgotten_it(w1: W1Folder) -> None:
    probe = thermometer(w1, resolution=9)
    w1.measure(PROBE, 21.5, bits=12)
    assert probe.read() == 21.5
    assert w1.resolution(PROBE) == 9
    w1.measure(PROBE, 21.5, bits=9)
    probe.read()
    assert isinstance(probe._clock, Clock)
    probe._clock.now += 1000.0
    w1.power_on(PROBE)
    fault(probe)
    assert w1.resolution(PROBE) == 9


def test_a_resolution_that_we_may_not_set_is_said_once_and_costs_nothing(
    w1: W1Folder, caplog: pytest.LogCaptureFixture
) -> None:
    probe = thermometer(w1, resolution=9)
    w1.measure(PROBE, 21.5, bits=12)
    (w1.path / PROBE / "resolution").unlink()
    (w1.path / PROBE / "resolution").mkdir()  # as refused as a file of root's is to others
    with caplog.at_level(logging.WARNING):
        assert [probe.read() for _ in range(3)] == [21.5] * 3
    assert [r.message for r in caplog.records] == [f"{PROBE}: measures with 12 bits, not 9: Is a directory"]
