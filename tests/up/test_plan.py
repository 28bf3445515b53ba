"""Which processes there are and what each is told."""

import dataclasses
import json
import stat
from pathlib import Path

import pytest

from services.up.plan import CLOUD_USERS, brokers, draw_passwords, read_or_draw, services
from services.up.ports import Ports
from services.up.settings import UpSettings

PORTS = Ports(20_000)
SETTINGS = UpSettings(Path("/r/car.csv"), None, "pack-7", "max", Path("/d"), True, None)
PASSWORDS = draw_passwords("pi")


def test_passwords_are_drawn_for_each_user_and_all_different() -> None:
    assert set(PASSWORDS) == {"pi", *CLOUD_USERS}
    assert len(set(PASSWORDS.values())) == 4
    assert draw_passwords("pi") != PASSWORDS


def test_passwords_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "passwords"
    drawn = read_or_draw(path, "pi")
    assert read_or_draw(path, "pi") == drawn
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("torn", ["", "\0\0\0", "pi", "pi:", "pi:secret\ningest:se", "pi:s\ningest:\n\0\0"])
def test_what_is_missing_of_the_passwords_is_drawn_and_kept(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(torn)
    drawn = read_or_draw(path, "pi")
    assert set(drawn) == {"pi", *CLOUD_USERS}
    assert all(drawn.values())
    assert read_or_draw(path, "pi") == drawn
    assert (stat.S_IMODE(path.stat().st_mode), list(tmp_path.iterdir())) == (0o600, [path])


def test_another_node_on_a_used_data_folder_has_its_own_password_and_changes_no_other(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    first = read_or_draw(path, "pi")
    other = read_or_draw(path, "attic")
    assert set(other) == {"attic", *CLOUD_USERS}
    assert {user: other[user] for user in CLOUD_USERS} == {user: first[user] for user in CLOUD_USERS}
    assert read_or_draw(path, "pi") == first


def test_the_gateway_bridges_to_where_it_is_told() -> None:
    by_name = {p.name: p for p in brokers(SETTINGS, PORTS, "pi", PASSWORDS, 12_345)}
    assert list(by_name) == ["broker-cloud", "broker-local", "broker-gateway"]
    assert [p.listens for p in by_name.values()] == [20_002, 20_000, 20_001]
    gateway = by_name["broker-gateway"].environment
    assert (gateway["EMBERWATCH_CLOUD_PORT"], gateway["EMBERWATCH_LOCAL_PORT"]) == ("12345", "20000")
    assert gateway["EMBERWATCH_CLOUD_PASSWORD"] == PASSWORDS["pi"]


@pytest.mark.parametrize(("until_done", "has_dashboard"), [(True, False), (False, True)])
def test_the_dashboard_runs_only_where_somebody_looks(until_done: bool, has_dashboard: bool) -> None:
    plan = services(dataclasses.replace(SETTINGS, until_done=until_done), PORTS, "pi", PASSWORDS, "postgresql://x")
    assert list(plan)[:5] == ["ingest", "alert", "inference", "alert-cloud", "sensor"]
    assert ("dashboard" in plan) is has_dashboard


def test_edge_services_know_only_the_local_broker_and_cloud_services_only_the_clouds() -> None:
    plan = services(SETTINGS, PORTS, "pi", PASSWORDS, "postgresql://x")
    for name in ("sensor", "inference", "alert"):
        environment = plan[name].environment
        assert (environment["EMBERWATCH_NODE"], environment["EMBERWATCH_BROKER_PORT"]) == ("pi", "20000")
        assert not any(secret in environment.values() for secret in PASSWORDS.values())
    for name, user in (("ingest", "ingest"), ("alert-cloud", "alert")):
        environment = plan[name].environment
        assert (environment["EMBERWATCH_NODE"], environment["EMBERWATCH_BROKER_PORT"]) == ("cloud", "20002")
        assert environment["EMBERWATCH_BROKER_PASSWORD"] == PASSWORDS[user]
    assert plan["alert-cloud"].command[-1] == "services.alert"
    assert plan["ingest"].environment["EMBERWATCH_DATABASE_URL"] == "postgresql://x"


def test_the_sensor_is_told_what_to_replay() -> None:
    sensor = services(SETTINGS, PORTS, "pi", PASSWORDS, "")["sensor"].environment
    told = {name: sensor[f"EMBERWATCH_{name}"] for name in ("REPLAY", "DEVICE", "SPEED")}
    assert told == {"REPLAY": "/r/car.csv", "DEVICE": "pack-7", "SPEED": "max"}
    assert "EMBERWATCH_MAP" not in sensor
    assert sensor["EMBERWATCH_REPEAT"] == "False"
    watched = services(dataclasses.replace(SETTINGS, until_done=False), PORTS, "pi", PASSWORDS, "")["sensor"]
    assert watched.environment["EMBERWATCH_REPEAT"] == "True"
    mapped = services(dataclasses.replace(SETTINGS, map="m.yaml"), PORTS, "pi", PASSWORDS, "")["sensor"]
    assert mapped.environment["EMBERWATCH_MAP"] == "m.yaml"


def test_a_simulation_has_its_packs_told_to_inference_and_this_computers_time(tmp_path: Path) -> None:
    simulation = tmp_path / "packs.yaml"
    simulation.write_text("packs: {a: {cells: 12, probes: 2, capacity_ah: 3}, b: {}}")
    plan = services(dataclasses.replace(SETTINGS, simulation=simulation), PORTS, "pi", PASSWORDS, "")
    sensor = plan["sensor"].environment
    told = {name: sensor[f"EMBERWATCH_{name}"] for name in ("SOURCE", "SIMULATED", "CLOCK")}
    assert told == {"SOURCE": "simulated", "SIMULATED": str(simulation), "CLOCK": "ntp"}
    assert "EMBERWATCH_REPLAY" not in sensor
    assert json.loads(plan["inference"].environment["EMBERWATCH_DEVICES"]) == {
        "a": {"chemistry": "NMC", "capacity_ah": 3, "cells": 12},
        "b": {"chemistry": "NMC", "capacity_ah": 5, "cells": 96},
    }
    assert "EMBERWATCH_DEVICES" not in services(SETTINGS, PORTS, "pi", PASSWORDS, "")["inference"].environment


def test_no_secret_shows_in_a_printed_plan() -> None:
    shown = repr([brokers(SETTINGS, PORTS, "pi", PASSWORDS, 1), services(SETTINGS, PORTS, "pi", PASSWORDS, "db")])
    assert not any(secret in shown for secret in PASSWORDS.values())
