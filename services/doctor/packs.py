"""Packs over Bluetooth: what the source `bms` needs here, if the settings name it."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from services.bus.errors import ConfigError
from services.bus.settings import read_yaml
from services.doctor.check import Check, good, missing

GROUP: Final = "packs"
PYTHON: Final = (3, 12)
PACKAGE: Final = "aiobmsble"
LISTEN: Final = "`emberwatch doctor --bms` tells which are in range"


def look(settings: Any, version: tuple[int, ...] = sys.version_info[:2]) -> Iterator[Check]:
    """Args: settings: content of the services' settings file."""
    sensor = settings.get("sensor") if isinstance(settings, dict) else None
    if not isinstance(sensor, dict) or "bms" not in _names(sensor.get("source")):
        return
    if version < PYTHON:
        repair = "Raspberry Pi OS 13 (Debian 13) brings Python 3.13. Here: a BMS that speaks MQTT, or sensors on pins."
        here = ".".join(map(str, version))
        yield missing(GROUP, "Python", f"{here}: reading a BMS over Bluetooth needs 3.12 or later", repair)
    elif find_spec(PACKAGE) is None:
        repair = "pip install 'emberwatch[bms]', or sudo deploy/pi/install.sh"
        yield missing(GROUP, PACKAGE, "not installed: no BMS over Bluetooth", repair)
    else:
        yield good(GROUP, PACKAGE, "installed (BMS over Bluetooth)")
    yield _file(sensor.get("bms"))


def _names(source: Any) -> list[str]:
    parts = source.split(",") if isinstance(source, str) else source if isinstance(source, list) else []
    return [str(part).strip() for part in parts]


def _file(path: Any) -> Check:
    if not isinstance(path, str):
        repair = f"Name the file of the packs: `sensor: {{bms: /etc/emberwatch/bms.yaml}}`. {LISTEN}."
        return missing(GROUP, "bms", "the settings name no file", repair)
    try:
        content = read_yaml(Path(path))
    except ConfigError as error:
        return missing(GROUP, Path(path).name, str(error), f"Copy the shipped deploy/pi/bms.yaml. {LISTEN}.")
    packs = content.get("packs") if isinstance(content, dict) else None
    if not isinstance(packs, dict) or not packs:
        return missing(GROUP, Path(path).name, f"{path}: no `packs`", f"Write the packs into it. {LISTEN}.")
    named = ", ".join(
        f"{name} {pack.get('address') if isinstance(pack, dict) else '?'}" for name, pack in packs.items()
    )
    return good(GROUP, Path(path).name, f"{named}; {LISTEN}")
