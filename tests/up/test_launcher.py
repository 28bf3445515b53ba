"""The shell script `./emberwatch`: help and unknown verbs without an installation, the caller's folder respected."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.settings import ROOT

TOOLS = ("sh", "cat", "dirname")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout that holds nothing but the script, and a PATH without Python: whatever it would install fails."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    shutil.copy(ROOT / "emberwatch", tmp_path)
    return tmp_path


def emberwatch(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "emberwatch"), *arguments]
    environment = {"PATH": str(checkout / "bin")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("verb", ["help", "-h", "--help"])
def test_help_is_answered_at_once(bare: Path, verb: str) -> None:
    done = emberwatch(bare, verb)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("emberwatch up [--replay FILE]")
    assert not (bare / ".venv").exists()


@pytest.mark.parametrize("verb", ["evalute", "statsu", "--until-done"])
def test_an_unknown_verb_is_named(bare: Path, verb: str) -> None:
    done = emberwatch(bare, verb)
    assert (done.returncode, done.stdout) == (2, "")
    first, second, *_ = done.stderr.splitlines()
    assert first == f"emberwatch: unknown verb '{verb}'"
    assert second.startswith("emberwatch up ")


def test_no_verb_at_all_is_an_error_with_the_usage(bare: Path) -> None:
    done = emberwatch(bare)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("emberwatch up ")


def test_a_folder_services_of_the_caller_is_not_taken_for_ours_and_its_relative_paths_are(
    bare: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The script's last line, run where the caller stands."""
    where = tmp_path_factory.mktemp("caller")
    (where / "services").mkdir()
    (where / "services" / "__init__.py").write_text("raise SystemExit('a foreign package')")
    last = (ROOT / "emberwatch").read_text().rstrip().splitlines()[-1]
    last = last.replace("$here/.venv/bin/python", sys.executable)
    script = f"set -- up --replay gone.csv; {last}"
    done = subprocess.run(["sh", "-c", script], cwd=where, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (2, f"up: --replay: {where / 'gone.csv'}: no such file")
