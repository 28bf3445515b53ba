"""Programs, clock, data folder, settings."""

from pathlib import Path

import pytest

from services.doctor import software


def test_a_missing_broker_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "BROKER", "no-such-broker")
    monkeypatch.setattr(software, "PACKAGES", {"no_such_package": ("display", "pi"), "yaml": ("settings", "pi")})
    broker, package, there = software.programs()
    assert (broker.state, broker.repair) == ("missing", "sudo apt-get install no-such-broker")
    assert (package.state, package.found) == ("missing", "not installed: no display")
    assert there.state == "good"


def test_a_clock_that_nothing_has_set() -> None:
    assert software.clock("none").state == "missing"
    assert "timedatectl" in software.clock("none").repair
    assert [software.clock(source).state for source in ("ntp", "rtc", "peer")] == ["good"] * 3


def test_a_data_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert software.data_folder(tmp_path / "new" / "data").state == "good"
    (tmp_path / "file").write_text("")
    check = software.data_folder(tmp_path / "file" / "data")
    assert (check.state, "not writable" in check.found) == ("missing", True)
    monkeypatch.setattr(software, "FREE_MIN", 1e30)
    assert software.data_folder(tmp_path).state == "warning"


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "emberwatch.yaml"
    path.write_text("sensor: {pi: [}")
    check = software.settings_file(path)
    assert (check.state, str(path) in check.found) == ("missing", True)
