"""What the source `bms` needs, named with its repair."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from services.doctor import packs


def named(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "bms.yaml"
    path.write_text(text)
    return {"sensor": {"source": "pi, bms", "bms": str(path)}}


@pytest.mark.parametrize("settings", [None, [], {}, {"sensor": None}, {"sensor": {"source": ["pi", "mqtt"]}}])
def test_nothing_is_asked_of_who_reads_no_pack(settings: object) -> None:
    assert list(packs.look(settings)) == []


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    python, _ = packs.look(named(tmp_path, "packs: {p: {}}"), (3, 11))
    assert (python.state, python.found) == ("missing", "3.11: reading a BMS over Bluetooth needs 3.12 or later")
    assert "Raspberry Pi OS 13" in python.repair


def test_the_package(tmp_path: Path) -> None:
    package, _ = packs.look(named(tmp_path, "packs: {p: {}}"), (3, 13))
    assert package.state == ("missing" if find_spec("aiobmsble") is None else "good")


def test_packs_are_named(tmp_path: Path) -> None:
    *_, file = packs.look(named(tmp_path, "packs: {pack-1: {address: A4:C1:38:00:00:01}}"))
    assert file.state == "good"
    assert file.found.startswith("pack-1 A4:C1:38:00:00:01; ")


@pytest.mark.parametrize(
    ("text", "found"),
    [("packs: [", "while parsing"), ("packs: {}", "no `packs`"), ("[]", "no `packs`"), ("packs: {p: }", "")],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, found: str) -> None:
    *_, file = packs.look(named(tmp_path, text))
    assert file.state == ("missing" if found else "good")
    assert found in file.found


def test_a_file_that_is_not_there() -> None:
    *_, gone = packs.look({"sensor": {"source": ["bms"], "bms": "/nowhere/bms.yaml"}})
    *_, unnamed = packs.look({"sensor": {"source": ["bms"]}})
    assert (gone.state, unnamed.state) == ("missing", "missing")
    assert "No such file" in gone.found
    assert "doctor --bms" in unnamed.repair
