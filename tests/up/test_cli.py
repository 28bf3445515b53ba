"""`./emberwatch up` with something wrong: one line that names it, exit code 2, nothing started."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.installation import FolderLock
from services.bus.settings import ROOT
from services.up.ports import NAMES, is_free
from tests.nobody import NOBODY, let_in

GOOD = "ts,voltage\n1767225600,11\n1767225601,12\n"


def up(tmp_path: Path, *arguments: str, as_nobody: bool = False) -> str:
    """Run it; returns its one line of error."""
    command = [sys.executable, "-m", "services", "up", "--until-done", *arguments]
    if "--data" not in arguments:
        command += ["--data", str(tmp_path / "data")]
    if as_nobody:
        command = [*NOBODY, *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert not (tmp_path / "data" / "logs").exists()
    return line


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.csv"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("speed", ["0", "-3", "nan", "inf", "fast", "1e7"])
def test_a_wrong_speed(tmp_path: Path, speed: str) -> None:
    assert up(tmp_path, f"--speed={speed}") == f"up: --speed: {speed}: expected a number above 0, or max"


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone.csv"
    assert up(tmp_path, "--replay", str(path)) == f"up: --replay: {path}: no such file"


def test_a_recording_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "car.parquet"
    path.write_bytes((ROOT / "tests" / "recordings" / "car2.parquet").read_bytes()[:5000])
    line = up(tmp_path, "--replay", str(path))
    assert line.startswith(f"up: {path}: ")
    assert "Parquet magic bytes not found" in line


def test_a_recording_with_a_missing_column(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    path.write_text(GOOD.replace("voltage", "pressure"))
    line = up(tmp_path, "--replay", str(path), "--map", "battery")
    assert line == f"up: {path}: no column of the map was found; there are 'ts', 'pressure'"


def test_a_map_that_is_not_there(tmp_path: Path, recording: Path) -> None:
    line = up(tmp_path, "--replay", str(recording), "--map", "nope")
    assert line.startswith("up: --map: nope: no such file, and no shipped map (battery, ")


@pytest.mark.parametrize("base", ["80", "65530", "-1"])
def test_a_wrong_port_base(tmp_path: Path, base: str) -> None:
    assert up(tmp_path, f"--port-base={base}") == f"up: --port-base: {base}: expected a number from 1024 to 65529"


def test_a_used_port_is_named(tmp_path: Path, recording: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        base = next(port - i for i in range(6) if all(is_free(port - i + j) or j == i for j in range(6)))
        line = up(tmp_path, "--replay", str(recording), "--port-base", str(base))
    assert line == f"up: --port-base: {base}: port {port} ({NAMES[port - base]}) is in use"


@pytest.mark.parametrize("device", ["a/b", "node", "", "+"])
def test_a_wrong_device_name(tmp_path: Path, recording: Path, device: str) -> None:
    line = up(tmp_path, "--replay", str(recording), f"--device={device}")
    assert line.startswith(f"up: --device: {device}: ")


def test_a_data_folder_that_is_a_file(tmp_path: Path, recording: Path) -> None:
    line = up(tmp_path, "--replay", str(recording), "--data", str(recording))
    assert line == f"up: --data: {recording}: File exists"


@pytest.mark.parametrize("database", [None, "postgresql://somewhere/else"])
def test_a_data_folder_that_another_up_uses(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, database: str | None
) -> None:
    if database is not None:
        monkeypatch.setenv("EMBERWATCH_DATABASE_URL", database)
    folder = tmp_path / "data"
    folder.mkdir()
    lock = FolderLock(folder)
    try:
        line = up(tmp_path, "--replay", str(recording))
    finally:
        lock.release()
    assert line == f"up: --data: {folder}: another `up` uses this folder"


def test_a_data_folder_that_is_not_writable(tmp_path: Path, recording: Path) -> None:
    """As an ordinary user: root may write everywhere."""
    let_in(tmp_path)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    line = up(tmp_path, "--replay", str(recording), "--data", str(folder), as_nobody=True)
    assert line == f"up: --data: {folder}: not writable"
    line = up(tmp_path, "--replay", str(recording), "--data", str(folder / "new"), as_nobody=True)
    assert line == f"up: --data: {folder / 'new'}: Permission denied"
