"""The file of the packs, and each mistake in it named."""

from pathlib import Path

import pytest

from services.bus.errors import ConfigError
from services.bus.settings import ROOT
from services.sensor.bms.config import load_config

GOOD = "packs: {pack-1: {address: a4-c1-38-00-00-01, make: jbd, cells: 16, probes: 3}}"


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bms.yaml"
    path.write_text(text)
    load_config(path)


def test_defaults(tmp_path: Path) -> None:
    path = tmp_path / "bms.yaml"
    path.write_text(GOOD)
    (pack,) = load_config(path).packs.values()
    assert (pack.address, pack.channels, pack.period_s) == ("A4:C1:38:00:00:01", ("voltage", "current", "soc"), 2.0)


def test_the_shipped_file_is_good() -> None:
    assert load_config(ROOT / "deploy/pi/bms.yaml").packs


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "bms.yaml"
    path.write_text(GOOD.replace("probes: 3", "probes: 3, secret: '123456'"))
    assert "123456" not in repr(load_config(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: "),
        ("packs: {}", "packs: Dictionary should have at least 1 item"),
        (GOOD.replace("a4-c1-38-00-00-01", "a4:c1"), r"packs.pack-1.address: String should match"),
        (GOOD.replace("a4-c1-38-00-00-01", "10:20:30:40:50:55"), "packs.pack-1.address: .*write it in quotes"),
        (GOOD.replace("make: jbd", "make: ../x"), "packs.pack-1.make: String should match"),
        (GOOD.replace("cells: 16, ", ""), "packs.pack-1.cells: Field required"),
        (GOOD.replace("cells: 16", "cells: -1"), "packs.pack-1.cells: Input should be greater"),
        (GOOD.replace("probes: 3", "probes: 3, period_s: 0.1"), "packs.pack-1.period_s: Input should be greater"),
        (GOOD.replace("probes: 3", "probes: 3, perod_s: 1"), "packs.pack-1.perod_s: Extra inputs"),
        (GOOD.replace("probes: 3", "probes: 3, channels: [soc, soc]"), "packs.pack-1.channels: .*twice"),
        (GOOD.replace("probes: 3", "probes: 3, stay_connected: false"), "packs.pack-1: .*period_s of at least 20"),
        (GOOD.replace("pack-1", "no de"), "file: .*no de"),
        (GOOD.replace("pack-1", "node"), "file: .*reserved"),
        (f"adapter: usb0\n{GOOD}", "adapter: String should match"),
        (
            "packs: {a: {address: 'A4:C1:38:00:00:01', cells: 1, probes: 0},"
            " b: {address: 'a4:c1:38:00:00:01', cells: 1, probes: 0}}",
            "file: .*packs.b: A4:C1:38:00:00:01 is a already",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"bms.yaml: {message}"):
        load(tmp_path, text)
