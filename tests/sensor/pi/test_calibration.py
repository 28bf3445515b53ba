"""Two-point calibration: exact where it can be, refused where a wiring fault is more likely, never half written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.bus.errors import ConfigError
from services.sensor.pi.calibrate import calibrate, main
from services.sensor.pi.calibration import CalibrationError, fit, load, save
from tests.sensor.pi.bench import Bench


@given(st.floats(0.85, 1.2), st.floats(-5, 5), st.floats(-100, 100), st.floats(-100, 100), st.floats(-100, 100))
def test_two_points_undo_any_believable_error(gain: float, offset: float, a: float, b: float, other: float) -> None:
    assume(abs(a - b) > max(1.0, 0.06 * max(abs(a), abs(b))))
    line = fit([((a - offset) / gain, a), ((b - offset) / gain, b)], "w")
    assert line((other - offset) / gain) == pytest.approx(other, abs=1e-6)


def test_one_point_is_an_offset() -> None:
    line = fit([(20.25, 20.0)], "w")
    assert (line.gain, line(21.25)) == (1.0, 21.0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(12.0, 12.0), (12.1, 12.1)], "too near each other"),
        ([(12.0, 12.0), (12.0, 14.0)], "too near each other"),
        ([(12.0, 12.0), (7.0, 14.0)], r"a factor of -0\.4 would be needed .* `invert`"),
        ([(1.0, 11.0), (1.5, 16.5)], "a factor of 11 would be needed .* check divider"),
        ([], "expected one point or two, got 0"),
        ([(1, 1), (2, 2), (3, 3)], "expected one point or two, got 3"),
    ],
)
def test_points_that_make_no_calibration_are_refused_with_the_reason(points: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit(points, "w")


def test_calibrations_are_kept_and_forgotten_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "calibration.yaml"
    voltage, current = fit([(1.0, 1.1)], "0" * 12), fit([(0.0, 0.2), (10.0, 10.0)], "a" * 12)
    assert load(file) == {}
    save(file, "pack-1/voltage", voltage)
    save(file, "pack-1/current", current)
    assert load(file) == {"pack-1/current": current, "pack-1/voltage": voltage}
    save(file, "pack-1/voltage", None)
    assert load(file) == {"pack-1/current": current}
    assert [p.name for p in tmp_path.iterdir()] == ["calibration.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", r"calibration\.yaml: file: expected device/channel"),
        ("pack-1/voltage: 1.0", r"calibration\.yaml: pack-1/voltage: "),
        ("pack-1/voltage: {gain: -1, wiring: x, at: 2026-11-21T08:15:02Z}", r"pack-1/voltage\.gain: .*greater than 0"),
        ("pack-1/voltage: {gain: .nan, wiring: x, at: 2026-11-21T08:15:02Z}", r"pack-1/voltage\.gain: "),
        ("pack-1/voltage: {gain: 1.0", r"calibration\.yaml: file: "),
    ],
)
def test_a_damaged_file_names_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "calibration.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(file)
    with pytest.raises(ConfigError, match=message):
        save(file, "pack-1/voltage", None)
    assert file.read_text() == text


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def applied(bench: Bench, error: float) -> Any:
    """A person who turns a supply to what is asked; the divider's resistors are off by `error`."""
    asked: list[str] = []

    def apply(text: str) -> None:
        asked.append(text)
        bench.adc_1.ain[0] = float(text.split()[1]) / 4 * (1 + error)

    return apply, asked


def test_a_channel_is_calibrated_against_a_meter(bench: Bench) -> None:
    apply, asked = applied(bench, 0.03)
    made, measured = calibrate(bench.path, "pack-1", "voltage", [8.0, 12.0], apply, 0.5, open_bus=bench.open_bus)
    assert asked == ["Apply 8 V to pack-1/voltage", "Apply 12 V to pack-1/voltage"]
    assert made.gain == pytest.approx(1 / 1.03, abs=1e-3)
    assert made(10.0 * 1.03) == pytest.approx(10.0, abs=0.002)
    assert [m.count >= 3 for m in measured] == [True, True]
    assert load(bench.path.with_name("calibration.yaml"))["pack-1/voltage"] == made
    made, _ = calibrate(bench.path, "pack-1", "temperatures[1]", [20.0], lambda _: None, 0.5, open_bus=bench.open_bus)
    assert made.offset == pytest.approx(-0.25)


def test_what_cannot_be_calibrated_is_refused_and_nothing_is_kept(bench: Bench) -> None:
    def attempt(device: str, channel: str, seconds: float = 0.4) -> str:
        with pytest.raises(CalibrationError) as caught:
            calibrate(bench.path, device, channel, [8.0, 12.0], lambda _: None, seconds, open_bus=bench.open_bus)
        return str(caught.value)

    assert "none of the map's devices: pack-1" in attempt("pack-9", "voltage")
    assert "none of pack-1's channels: voltage, current" in attempt("pack-1", "pressure")
    assert "none of pack-1's channels" in attempt("pack-1", "temperatures[7]")
    bench.adc_1.ain[0] = 0.0
    assert attempt("pack-1", "voltage").endswith("0 readings in 0.4 s: open")
    bench.adc_1.ain[0], bench.adc_1.noise = 2.0, 0.1
    assert "not steady" in attempt("pack-1", "voltage", seconds=1.0)
    assert not bench.path.with_name("calibration.yaml").exists()


def test_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EMBERWATCH_SOURCE", "pi")
    monkeypatch.setenv("EMBERWATCH_PI", str(bench.path))
    monkeypatch.setattr("builtins.input", lambda text: "")
    assert main(["pack-1", "voltage", "11.11", "--seconds", "0.4"], open_bus=bench.open_bus) == 0
    assert "true = read * 1.00000 + 0.1" in capsys.readouterr().out
    assert main(["pack-1", "humidity", "1"]) == 2
    assert "'humidity' is none of pack-1's channels" in capsys.readouterr().err
    other = bench.path.with_name("other.yaml")
    assert main(["pack-1", "voltage", "1", "--map", str(other)]) == 2
    assert f"{other}: file: No such file" in capsys.readouterr().err
    monkeypatch.setenv("EMBERWATCH_SOURCE", "simulated")
    monkeypatch.delenv("EMBERWATCH_PI")
    assert main(["pack-1", "voltage", "1"]) == 2
    assert "the settings name no map" in capsys.readouterr().err
