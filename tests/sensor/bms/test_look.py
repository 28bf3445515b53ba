"""`emberwatch doctor --bms`: packs in range, read by the real aiobmsble, as a file that the source takes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from services.bus.settings import ROOT
from services.sensor.bms.config import load_config
from services.sensor.bms.look import Seen, look, report
from tests.sensor.bms.peripherals import Daly, Jbd
from tests.sensor.bms.played_bluez import PlayedBluez

SAMPLE = {"voltage": 13.2, "current": -1.0, "battery_level": 50, "cell_voltages": [3.3] * 4, "temp_values": [21.0]}
needs_aiobmsble = pytest.mark.skipif(find_spec("aiobmsble") is None, reason="aiobmsble needs Python 3.12 or later")


def written(tmp_path: Path, seen: list[Seen]) -> Path:
    path = tmp_path / "bms.yaml"
    path.write_text("\n".join(report(seen, 7, 15.0)))
    return path


def test_the_report_is_the_file_of_the_source(tmp_path: Path) -> None:
    seen = [
        Seen("A4:C1:38:00:00:01", "JBD-1", -60, "jbd", SAMPLE),
        Seen("10:20:30:40:50:55", "DL-2", -70, "daly", {"voltage": 51.2, "current": 0.0}),
    ]
    first, second = load_config(written(tmp_path, seen)).packs.values()
    assert (first.address, first.make, first.cells, first.probes) == ("A4:C1:38:00:00:01", "jbd", 4, 1)
    assert (second.address, second.cells, second.probes) == ("10:20:30:40:50:55", 0, 0)
    assert second.channels == ("voltage", "current")


def test_what_was_not_read_and_what_was_not_heard_is_said() -> None:
    assert "    # not read: because" in report([Seen("A4:C1:38:00:00:01", "", -60, "jbd", None, "because")], 1, 15.0)
    assert len(list(report([], 3, 15.0))) == 3


@needs_aiobmsble
@pytest.mark.usefixtures("hasty")
async def test_packs_in_range_are_read(system_bus: str, tmp_path: Path) -> None:
    mute = Jbd("A4:C1:38:00:00:02", "JBD-MUTE", damage="mute")
    near = [Jbd("A4:C1:38:00:00:01", "JBD-SP04S020"), mute, Daly("C0:11:22:33:44:55", "DL-40D2020F8BC4")]
    async with PlayedBluez(system_bus, *near, Jbd("11:22:33:44:55:66", "garage door")) as bluez:
        seen, heard = await look(0.3, None)
        assert not any(device.connected for device in bluez.devices.values())
    assert heard == 4
    assert [(pack.make, pack.sample is not None) for pack in seen] == [("jbd", True), ("jbd", False), ("daly", True)]
    text = "\n".join(report(seen, heard, 0.3))
    assert "cells: 4  # 3.301, 3.302, 3.303, 3.304 V" in text
    assert "# not read: connected, but it does not answer" in text


def test_the_command_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "services", "doctor", "--bms", "0.1"]
    environment = {"PATH": "/usr/bin", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    wanted = "needs Python 3.12 or later" if sys.version_info < (3, 12) else "Bluetooth does not work here"
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
