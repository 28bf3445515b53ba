"""Which processes the whole system is made of, and what each is told. Pure, but for two files:
passwords, and the simulated packs."""

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.bus.settings import ROOT
from services.sensor.simulated.config import load_config
from services.up.ports import Ports
from services.up.settings import UpSettings

CLOUD_USERS: Final = ("ingest", "dashboard", "alert")
_LINE: Final = re.compile(r"([^:\s]+):([A-Za-z0-9_-]{24})")  # as drawn; a torn one is shorter


@dataclass(frozen=True, slots=True)
class Process:
    """A child process: name (of its log, too), command, environment beyond our own, port that it listens on."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    listens: int | None = None


def draw_passwords(node: str) -> dict[str, str]:
    return {user: secrets.token_urlsafe(18) for user in (node, *CLOUD_USERS)}


def brokers(
    settings: UpSettings, ports: Ports, node: str, passwords: Mapping[str, str], bridge_port: int
) -> list[Process]:
    start = str(ROOT / "mosquitto" / "start")
    edge, cloud = str(settings.data / "edge"), str(settings.data / "cloud")
    users = " ".join(f"{user}:{password}" for user, password in passwords.items())
    local, far = str(ports["local"]), str(ports["cloud"])
    return [
        Process(
            "broker-cloud",
            ("sh", start, "cloud"),
            {"EMBERWATCH_DATA_DIR": cloud, "EMBERWATCH_CLOUD_PORT": far, "EMBERWATCH_CLOUD_USERS": users},
            ports["cloud"],
        ),
        Process(
            "broker-local",
            ("sh", start, "local"),
            {"EMBERWATCH_DATA_DIR": edge, "EMBERWATCH_LOCAL_PORT": local},
            ports["local"],
        ),
        Process(
            "broker-gateway",
            ("sh", start, "gateway"),
            {
                "EMBERWATCH_DATA_DIR": edge,
                "EMBERWATCH_NODE": node,
                "EMBERWATCH_LOCAL_PORT": local,
                "EMBERWATCH_LAN_PORT": str(ports["gateway"]),
                "EMBERWATCH_CLOUD_HOST": "127.0.0.1",
                "EMBERWATCH_CLOUD_PORT": str(bridge_port),
                "EMBERWATCH_CLOUD_PASSWORD": passwords[node],
            },
            ports["gateway"],
        ),
    ]


def services(
    settings: UpSettings, ports: Ports, node: str, passwords: Mapping[str, str], database_url: str
) -> dict[str, Process]:
    """The Python services by name, in the order of their start."""
    quick = {"EMBERWATCH_HEARTBEAT_S": "2"} if settings.until_done else {}  # to see sooner that all has settled
    edge = {
        "EMBERWATCH_NODE": node,
        "EMBERWATCH_DATA_DIR": str(settings.data / "edge"),
        "EMBERWATCH_BROKER_PORT": str(ports["local"]),
    } | quick

    def cloud(user: str) -> dict[str, str]:
        return {
            "EMBERWATCH_NODE": "cloud",
            "EMBERWATCH_DATA_DIR": str(settings.data / "cloud"),
            "EMBERWATCH_BROKER_PORT": str(ports["cloud"]),
            "EMBERWATCH_BROKER_USERNAME": user,
            "EMBERWATCH_BROKER_PASSWORD": passwords[user],
        } | quick

    api = f"http://127.0.0.1:{ports['ingest']}"
    environments: dict[str, dict[str, str]] = {
        "ingest": cloud("ingest")
        | {"EMBERWATCH_DATABASE_URL": database_url, "EMBERWATCH_HTTP_PORT": str(ports["ingest"])},
        "alert": edge | {"EMBERWATCH_ROLE": "edge"},
        "inference": edge | _devices(settings),
        "alert-cloud": cloud("alert") | {"EMBERWATCH_ROLE": "cloud"},
        "sensor": edge | _source(settings),
        "dashboard": cloud("dashboard") | {"EMBERWATCH_API_URL": api, "EMBERWATCH_HTTP_PORT": str(ports["dashboard"])},
    }
    if settings.until_done:
        del environments["dashboard"]  # nobody looks
    listens = {"ingest": ports["ingest"], "dashboard": ports["dashboard"]}
    return {
        name: Process(name, _module(name), environment, listens.get(name)) for name, environment in environments.items()
    }


def _devices(settings: UpSettings) -> dict[str, str]:
    """What inference is told of the devices: of simulated packs their name plates. The cell is NMC (cell.py)."""
    if settings.simulation is None:
        return {}
    packs = load_config(settings.simulation).packs
    told = {
        name: {"chemistry": "NMC", "capacity_ah": pack.capacity_ah, "cells": pack.cells} for name, pack in packs.items()
    }
    return {"EMBERWATCH_DEVICES": json.dumps(told)}


def _source(settings: UpSettings) -> dict[str, str]:
    """What the sensor is told of where its readings come from."""
    if settings.simulation is not None:
        told = {"EMBERWATCH_SOURCE": "simulated", "EMBERWATCH_SIMULATED": str(settings.simulation)}
        return told | {"EMBERWATCH_CLOCK": "ntp"}  # what this computer's clock shows is the simulation's time
    told = {"EMBERWATCH_REPLAY": str(settings.replay), "EMBERWATCH_DEVICE": settings.device}
    told |= {"EMBERWATCH_SPEED": settings.speed, "EMBERWATCH_REPEAT": str(not settings.until_done)}
    return told | ({"EMBERWATCH_MAP": settings.map} if settings.map else {})


def _module(name: str) -> tuple[str, ...]:
    """-P: a folder `services` where the caller stands is not ours."""
    return (sys.executable, "-P", "-m", f"services.{name.removesuffix('-cloud')}")


def read_or_draw(path: Path, node: str) -> dict[str, str]:
    """The passwords of this data folder: what is missing (first use, another node, a torn file) is drawn and kept.

    The file is readable by its owner alone, and is replaced whole. Passwords of the folder's other nodes stay in it.
    """
    drawn = draw_passwords(node)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    known = {match[1]: match[2] for line in lines if (match := _LINE.fullmatch(line))}
    if not known.keys() >= drawn.keys():
        known = drawn | known
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.writelines(f"{user}:{password}\n" for user, password in known.items())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return {user: known[user] for user in drawn}
