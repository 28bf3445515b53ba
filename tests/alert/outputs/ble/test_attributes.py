"""The tree of services."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from services.alert.lcd import View
from services.alert.outputs.ble.attributes import PROBES, Characteristic, Node, Service, Tree, ours, readings
from tests.alert.test_lcd import entry

CHANNELS = {"voltage": 355.2, "current": -46.1, "soc": 0.61, "temperature_max": 31.0, "cell_voltage_max": 3.712}
NOW = datetime(2026, 11, 21, 9, 15, 2)
OCCURRENCE = "01JC9Z3W5T8Q2R7V4X6Y0B1D3F"


@pytest.fixture
def tree() -> Tree:
    return Tree(Node("pi-cellar", "Raspberry Pi 5", "0.1.0", secure=True))


def view(*devices: tuple[str, Any], alarms: Sequence[Any] = ()) -> View:
    return View(alarms, devices, "08:15:02", 0)


def of(services: list[Service], uuid: str, about: str = "") -> Characteristic:
    found = [c for s in services for c in s.characteristics if c.uuid == uuid and c.about in ("", about)]
    assert len(found) == 1, f"{uuid} {about}: {[c.about for c in found]}"
    return found[0]


def test_a_node_with_one_pack(tree: Tree) -> None:
    services = tree.services(view(("pack-1", CHANNELS)), NOW)
    assert [s.uuid for s in services] == ["180a", "1805", "180f", "181a", ours(1)]
    assert of(services, "2a25").value == b"pi-cellar"
    assert of(services, "2a19", "pack-1").value == b"\x3d"
    assert of(services, "2a6e", "pack-1 temperature_max").value == struct.pack("<h", 3100)
    assert of(services, ours(6), "pack-1").value == struct.pack("<iiHH", 355200, -46100, 3712, 0xFFFF)
    assert of(services, ours(2)).value == bytes([1, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("secure", "flag"), [(True, "encrypt-authenticated-write"), (False, "encrypt-write")])
def test_only_a_paired_phone_may_write(secure: bool, flag: str) -> None:
    services = Tree(Node("pi", "", "", secure)).services(view(("pack-1", CHANNELS)), NOW)
    writable = {c.name: c.flags for s in services for c in s.characteristics if any("write" in f for f in c.flags)}
    assert writable == {"Current Time": ("read", flag), "Acknowledge": (flag,)}


def test_several_devices_have_a_battery_each_and_probes_with_names(tree: Tree) -> None:
    two = view(("pack-1", CHANNELS), ("pack-2", {"soc": 0.5, "temperatures": [20.0, None]}), ("room", {"co": 3.0}))
    services = tree.services(two, NOW)
    assert [s.uuid for s in services].count("180f") == 2
    assert of(services, "2a19", "pack-2").value == b"\x32"
    probes = {c.about: c.value for s in services for c in s.characteristics if c.uuid == "2a6e"}
    assert probes == {
        "pack-1 temperature_max": struct.pack("<h", 3100),
        "pack-2 temperatures[0]": struct.pack("<h", 2000),
        "pack-2 temperatures[1]": bytes.fromhex("0080"),
    }


def test_a_device_that_falls_silent_stays_with_unknown_values(tree: Tree) -> None:
    before = tree.services(view(("pack-1", CHANNELS)), NOW)
    after = tree.services(view(("pack-1", None)), NOW)
    assert [[c.uuid for c in s.characteristics] for s in after] == [[c.uuid for c in s.characteristics] for s in before]
    assert of(after, "2a19", "pack-1").value is None
    assert of(after, "2a6e", "pack-1 temperature_max").value == bytes.fromhex("0080")
    assert of(after, ours(6), "pack-1").value == struct.pack("<iiHH", -(2**31), -(2**31), 0xFFFF, 0xFFFF)


def test_more_probes_than_a_phone_can_show_are_not_told_one_by_one(tree: Tree) -> None:
    services = tree.services(view(("pack-1", {"temperatures": [20.0] * 48, "temperature_max": 25.0})), NOW)
    probes = [c.about for s in services for c in s.characteristics if c.uuid == "2a6e"]
    assert len(probes) == PROBES
    assert probes[0] == "pack-1 temperature_max"


def test_alarms_reach_the_battery_service_of_their_device(tree: Tree) -> None:
    two = [("pack-1", CHANNELS), ("pack-2", CHANNELS)]
    services = tree.services(view(*two, alarms=[entry(occurrence=OCCURRENCE, device="pack-2")]), NOW)
    assert of(services, "2be9", "pack-1").value == b"\x00"
    assert of(services, "2be9", "pack-2").value == b"\x02"
    assert of(services, "2bed", "pack-2").value == bytes.fromhex("06C5003D05")
    assert of(services, ours(3)).value != b""


def test_each_change_of_the_alarms_is_counted(tree: Tree) -> None:
    counts = []
    for alarms in ([], [entry(revision=1)], [entry(revision=1)], [entry(revision=2)], []):
        tree.services(view(alarms=[replace(a, occurrence=OCCURRENCE) for a in alarms]), NOW)
        counts.append(tree.changes)
    assert counts == [0, 1, 1, 2, 3]


def test_what_is_advertised_of_one_and_of_several_devices() -> None:
    one = readings(view(("pack-1", CHANNELS)))
    assert (one.soc, one.temperature, one.voltage, one.current) == (0.61, 31.0, 355.2, -46.1)
    hot = {"soc": 0.2, "temperature_max": 45.0, "voltage": 48.0}
    two = readings(view(("a", CHANNELS), ("b", hot), ("c", None), alarms=[entry(severity="medium")]))
    assert (two.soc, two.temperature, two.voltage, two.current) == (0.2, 45.0, None, None)
    assert (two.heat, two.problem, two.safety) == (True, True, False)
    assert readings(view(alarms=[entry(channel="score", severity="high")])).safety
