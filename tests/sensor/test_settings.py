"""Settings: what is wrong stops the start, and is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.errors import ConfigError
from services.bus.settings import ROOT
from services.sensor.settings import SensorSettings


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SPEED", "0", "EMBERWATCH_SPEED: speed: "),
        ("SPEED", "-1", "EMBERWATCH_SPEED: speed: "),
        ("SPEED", "nan", "EMBERWATCH_SPEED: speed: "),
        ("SPEED", "fast", "EMBERWATCH_SPEED: speed"),
        ("DEVICE", "node", "EMBERWATCH_DEVICE: device: .*reserved"),
        ("DEVICE", "a/b", "EMBERWATCH_DEVICE: device: "),
        ("DEVICE", "+", "EMBERWATCH_DEVICE: device: "),
        ("SOURCE", "oracle", "EMBERWATCH_SOURCE: source"),
        ("SOURCE", "", "EMBERWATCH_SOURCE: source"),
        ("SOURCE", "recorded, pi", "EMBERWATCH_SOURCE: source: .*replayed alone"),
        ("SOURCE", "pi, bms, pi", "EMBERWATCH_SOURCE: source: .*twice"),
        ("SOURCE", "pi", r"EMBERWATCH_PI: pi: Field required \(source pi\)"),
        ("SOURCE", "simulated, bms", "EMBERWATCH_BMS: bms: Field required"),
        ("CLOCK", "sundial", "EMBERWATCH_CLOCK: clock: "),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv("EMBERWATCH_REPLAY", "car.csv")
    monkeypatch.setenv(f"EMBERWATCH_{variable}", value)
    with pytest.raises(ConfigError, match=message):
        SensorSettings.load()


@pytest.mark.parametrize(("text", "speed"), [("max", "max"), ("20", 20.0), ("0.5", 0.5)])
def test_speed_is_a_number_or_max(monkeypatch: pytest.MonkeyPatch, text: str, speed: object) -> None:
    monkeypatch.setenv("EMBERWATCH_REPLAY", "car.csv")
    monkeypatch.setenv("EMBERWATCH_SPEED", text)
    assert SensorSettings.load().speed == speed


@pytest.mark.parametrize(("text", "names"), [("simulated", ("simulated",)), (" pi ,bms", ("pi", "bms"))])
def test_there_may_be_several_live_sources(
    monkeypatch: pytest.MonkeyPatch, text: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBERWATCH_SOURCE", text)
    monkeypatch.setenv("EMBERWATCH_PI", str(tmp_path / "pi.yaml"))
    monkeypatch.setenv("EMBERWATCH_BMS", str(tmp_path / "bms.yaml"))
    found = SensorSettings.load()
    assert found.source == names
    assert found.file_of("pi") == tmp_path / "pi.yaml"


def test_sources_are_a_list_in_the_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "emberwatch.yaml"
    path.write_text("sensor: {source: [pi, simulated], pi: /etc/emberwatch/pi.yaml}\n")
    monkeypatch.setenv("EMBERWATCH_CONFIG", str(path))
    assert SensorSettings.load().source == ("pi", "simulated")


def test_without_a_recording_the_service_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBERWATCH_REPLAY", raising=False)
    with pytest.raises(ConfigError, match="EMBERWATCH_REPLAY: replay: Field required"):
        SensorSettings.load()


def test_a_recording_that_is_not_there_ends_the_service_with_one_line_and_code_2(tmp_path: Path) -> None:
    environment = os.environ | {"EMBERWATCH_REPLAY": str(tmp_path / "gone.csv"), "EMBERWATCH_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "services.sensor"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"sensor: {tmp_path / 'gone.csv'}: ")
    assert len(done.stderr.splitlines()) == 1
