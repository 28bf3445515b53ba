"""The file of simulated packs: what is wrong in it is named by file and key."""

from pathlib import Path

import pytest

from services.bus.errors import ConfigError
from services.sensor.simulated.config import load_config
from services.up.settings import SIMULATION


def test_the_shipped_file_is_two_packs_of_which_one_shorts() -> None:
    packs = load_config(SIMULATION).packs
    assert {name: [f.kind for f in pack.faults] for name, pack in packs.items()} == {
        "healthy": [],
        "shorted": ["internal_short"],
    }


def test_no_file_is_one_healthy_pack() -> None:
    assert [pack.faults for pack in load_config(None).packs.values()] == [()]


def test_a_fault_grows_evenly() -> None:
    (fault,) = load_config(SIMULATION).packs["shorted"].faults
    assert [fault.grown(t) for t in (0, 299, 300, 750, 1200, 9999)] == [0, 0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("pack", "key", "rule"),
    [
        ("{cells: 0}", "packs.a.cells", "greater than or equal to 1"),
        ("{colour: red}", "packs.a.colour", "Extra inputs"),
        ("{probes: 97}", "packs.a", "97 probes on 96 cells"),
        ("{day: []}", "packs.a.day", "at least 1 item"),
        ("{day: [{do: fly, minutes: 3}]}", "packs.a.day.0", "'drive', 'charge', 'rest'"),
        ("{day: [{do: rest, minutes: 0}]}", "packs.a.day.0.rest.minutes", "greater than 0"),
        ("{faults: [{kind: fire, size: 1}]}", "packs.a.faults.0.kind", "Input should be"),
        ("{faults: [{kind: joint, size: 50}]}", "packs.a.faults.0", "size 50 is not within 0.2..5"),
        ("{faults: [{kind: joint, size: 1, cell: 96}]}", "packs.a", "joint in 96, there are cells 0 to 95"),
        (
            "{faults: [{kind: sensor_drift, size: 3, sensor: probe, cell: 24}]}",
            "packs.a",
            "sensor_drift in 24, there are probes 0 to 23",
        ),
        (
            "{capacity_ah: 0.05, faults: [{kind: internal_short, size: 5}]}",
            "packs.a",
            "a short of 5 ohm needs cells of 0.1 Ah or more",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_key(tmp_path: Path, pack: str, key: str, rule: str) -> None:
    path = tmp_path / "packs.yaml"
    path.write_text(f"packs: {{a: {pack}}}")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {key}: "), said
    assert rule in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packs: {}", "packs: Dictionary should have at least 1 item"),
        ("packs: {node: {}}", "packs: Value error, 'node' is reserved"),
        ("packs: {'a/b': {}}", "packs: "),
        ("period_s: 0.01\npacks: {a: {}}", "period_s: "),
        ("packs: [", "file: "),
        ("", "file: "),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "packs.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {said}"), str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")
