"""What a computer tells of itself, on a tree of its files."""

from pathlib import Path

import pytest

from services.bus.profiles import load_profile
from services.sensor.host.machine import Machine
from tests.sensor.host.computer import STAT, THROTTLED, UNDER_VOLTAGE, computer


def machine(root: Path) -> Machine:
    return Machine(root, root / "sys", root / "proc")


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return computer(tmp_path)


def test_a_pi_tells_everything_in_the_profiles_units(pi: Path) -> None:
    found = machine(pi)
    (pi / "proc/stat").write_text("cpu  200 0 200 1400 200 0 0 0 0 0\n")  # 200 of 1000 ticks busy since the start
    values, faults = found.read()
    free = values.pop("disk_free")  # type: ignore[attr-defined]
    assert 0 < free < 1
    assert values == {
        "cpu_temperature": pytest.approx(51.8),
        "cpu_load": 0.2,
        "cpu_frequency": 1500.0,
        "memory_used": 0.25,
        "under_voltage": 0.0,
        "throttled": 0.0,
    }
    assert not faults
    by_name = load_profile("host").by_name
    assert {*found.channels, "power_lost"} == set(by_name)
    assert all(by_name[name].low <= value <= by_name[name].high for name, value in values.items())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("0", 0.0), ("50005", 1.0), ("1", 0.0), ("2", 1.0), ("8", 1.0), ("e0000", 0.0)],  # the upper half: since boot
)
def test_throttling_is_what_the_firmware_does_now(pi: Path, flags: str, expected: float) -> None:
    found = machine(pi)
    (pi / THROTTLED).write_text(f"{flags}\n")
    assert found.read()[0]["throttled"] == expected


def test_an_under_voltage_is_told(pi: Path) -> None:
    found = machine(pi)
    (pi / UNDER_VOLTAGE).write_text("1\n")
    assert found.read()[0]["under_voltage"] == 1.0


def test_what_a_computer_does_not_have_is_no_channel(tmp_path: Path) -> None:
    found = machine(computer(tmp_path, ("sys/class", "sys/devices/platform", "sys/devices/system")))
    assert set(found.channels) == {"cpu_load", "memory_used", "disk_free"}


def test_another_computer_s_only_zone_is_its_processor(tmp_path: Path) -> None:
    root = computer(tmp_path, ("sys/class/thermal/thermal_zone1",))
    assert machine(root).read()[0]["cpu_temperature"] == 99.0


@pytest.mark.parametrize(
    ("file", "content", "channel"),
    [
        (UNDER_VOLTAGE, "?", "under_voltage"),
        (THROTTLED, None, "throttled"),
        ("sys/class/thermal/thermal_zone1/temp", "", "cpu_temperature"),
        ("proc/meminfo", "MemTotal: 1 kB\n", "memory_used"),
        ("proc/stat", "cpu  1 2\n", "cpu_load"),
    ],
)
def test_what_can_no_longer_be_read_is_a_fault_and_costs_nothing_else(
    pi: Path, file: str, content: str | None, channel: str
) -> None:
    found = machine(pi)
    (pi / file).unlink() if content is None else (pi / file).write_text(content)
    values, faults = found.read()
    assert faults == {channel: "unreadable"}
    assert set(values) == set(found.channels) - {channel}


def test_a_load_between_two_equal_looks_is_none_and_a_counter_that_ran_back_is_no_negative_one(pi: Path) -> None:
    found = machine(pi)
    assert found.read()[0]["cpu_load"] == 0.0
    (pi / "proc/stat").write_text(STAT.replace("cpu  100 0 100", "cpu  90 0 100").replace("700", "800"))
    assert found.read()[0]["cpu_load"] == 0.0


def test_this_computer_tells_at_least_what_every_linux_does(tmp_path: Path) -> None:
    found = Machine(tmp_path)
    values, faults = found.read()
    assert {"cpu_load", "memory_used", "disk_free"} <= set(values)
    assert not faults
