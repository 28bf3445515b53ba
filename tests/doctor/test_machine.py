"""What the doctor sees of a computer: /dev, /proc and /sys as a Pi has them, with one thing wrong at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.settings import ROOT
from services.doctor import machine
from services.doctor.check import Check
from tests.nobody import NOBODY, let_in

PI5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "dev/i2c-1": "",
    "dev/gpiochip0": "",
    "dev/watchdog0": "",
    "sys/class/watchdog/watchdog0/identity": "Broadcom BCM2835 Watchdog timer\n",
    "sys/bus/w1/devices/w1_bus_master1/w1_master_slaves": "28-0000075a1b2c\n",
    "sys/bus/w1/devices/28-0000075a1b2c/features": "2\n",
    "sys/module/wire/parameters/timeout": "1\n",
    "sys/class/bluetooth/hci0/type": "",
    "sys/class/rfkill/rfkill0/type": "bluetooth\n",
    "sys/class/rfkill/rfkill0/soft": "0\n",
    "sys/class/rfkill/rfkill0/hard": "0\n",
    "run/dbus/system_bus_socket": "",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
}


def pi(root: Path, *without: str, **changed: str) -> dict[str, Check]:
    """Findings on a healthy Pi without some files and with others changed (`__` stands for `/`)."""
    for name, content in (PI5 | {key.replace("__", "/"): value for key, value in changed.items()}).items():
        if not name.startswith(without or ("-",)):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return {check.name: check for check in machine.look(root)}


def test_a_healthy_pi(tmp_path: Path) -> None:
    found = pi(tmp_path)
    assert {name: check.state for name, check in found.items()} == {
        "computer": "good",
        "I2C bus": "good",
        "DS18B20": "good",
        "GPIO": "good",
        "Bluetooth": "good",
        "hardware watchdog": "good",
        "supply": "good",
    }
    assert found["computer"].found == "Raspberry Pi 5 Model B Rev 1.0"
    assert found["DS18B20"].found == "28-0000075a1b2c"


@pytest.mark.parametrize(
    ("without", "name", "state", "found", "repair"),
    [
        ("dev/i2c-1", "I2C bus", "missing", "/dev/i2c-1 does not exist", "dtparam=i2c_arm=on"),
        ("sys/bus/w1", "1-Wire bus", "missing", "no bus master", "dtoverlay=w1-gpio"),
        ("sys/bus/w1/devices/28-", "DS18B20", "missing", "no probe answers", "4.7 kOhm"),
        ("dev/gpiochip", "GPIO", "missing", "no /dev/gpiochip*", "Raspberry Pi"),
        ("sys/class/bluetooth", "Bluetooth", "missing", "no adapter", "disable-bt"),
        ("run/dbus", "Bluetooth", "missing", "no D-Bus", "apt-get install bluez"),
        ("dev/watchdog0", "hardware watchdog", "warning", "/dev/watchdog0 does not exist", "dtparam=watchdog=on"),
        ("sys/class/hwmon", "supply", "warning", "does not tell", "Nothing"),
        ("proc/device-tree", "computer", "warning", "not a Raspberry Pi", "simulator"),
    ],
)
def test_each_missing_piece_is_named_with_its_repair(
    tmp_path: Path, without: str, name: str, state: str, found: str, repair: str
) -> None:
    check = pi(tmp_path, without)[name]
    assert check.state == state
    assert found in check.found
    assert repair in check.repair


@pytest.mark.parametrize(
    ("path", "content", "name", "state", "said"),
    [
        ("sys__bus__w1__devices__28-0000075a1b2c__features", "0\n", "DS18B20 features", "warning", "28-0000075a1b2c"),
        ("sys__module__wire__parameters__timeout", "10\n", "1-Wire search", "warning", "each 10 s"),
        ("sys__class__rfkill__rfkill0__soft", "1\n", "Bluetooth", "missing", "blocked by rfkill"),
        ("sys__class__rfkill__rfkill0__hard", "1\n", "Bluetooth", "missing", "hardware switch"),
        ("sys__class__hwmon__hwmon2__in0_lcrit_alarm", "1\n", "supply", "missing", "under-voltage"),
    ],
)
def test_what_is_there_and_set_wrong(tmp_path: Path, path: str, content: str, name: str, state: str, said: str) -> None:
    check = pi(tmp_path, **{path: content})[name]
    assert (check.state, said in check.found) == (state, True)
    assert check.repair


def test_a_device_without_permission(tmp_path: Path) -> None:
    pi(tmp_path)
    (tmp_path / "dev/i2c-1").chmod(0o400)
    ask = "import sys, pathlib, services.doctor.machine as m; print(m.i2c(pathlib.Path(sys.argv[1]), 1))"
    command = [sys.executable, "-c", ask, str(tmp_path)]
    let_in(tmp_path)
    done = subprocess.run([*NOBODY, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "/dev/i2c-1: no permission" in done.stdout
    assert "usermod -aG i2c" in done.stdout
