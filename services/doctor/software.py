"""Programs, packages, clock, data folder, settings."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from services.bus.errors import ConfigError
from services.bus.messages import TimeSource
from services.bus.settings import BusSettings, read_yaml
from services.doctor.check import Check, good, missing, warning

PACKAGES: Final = {  # module -> (what for, extra)
    "onnxruntime": ("judging", "inference"),
    "adafruit_ads1x15": ("ADS1115", "pi"),
    "w1thermsensor": ("DS18B20", "pi"),
    "RPLCD": ("display", "pi"),
    "gpiozero": ("LED, button, buzzer", "pi"),
    "dbus_fast": ("Bluetooth to phones", "pi"),
}
FREE_MIN: Final = 1e9  # bytes; the journals' ring takes half of it
BROKER: Final = "mosquitto"


def look(settings: BusSettings, source: TimeSource, config: Path | None) -> Iterator[Check]:
    yield from programs()
    yield clock(source)
    yield data_folder(settings.data_dir)
    if config is not None:
        yield settings_file(config)


def programs() -> Iterator[Check]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(BROKER, path=path)
    if found:
        yield good("software", BROKER, found)
    else:
        yield missing("software", BROKER, "not installed: there is no alarm path", f"sudo apt-get install {BROKER}")
    for module, (purpose, extra) in PACKAGES.items():
        if find_spec(module) is not None:
            yield good("software", module, f"installed ({purpose})")
        else:
            repair = f"pip install 'emberwatch[{extra}]', or sudo deploy/pi/install.sh"
            yield missing("software", module, f"not installed: no {purpose}", repair)


def clock(source: TimeSource) -> Check:
    if source == "none":
        repair = (
            "Connect it to a network once (timedatectl set-ntp true), put a battery on the Pi 5's RTC connector, or "
            "name the overlay of a clock chip (dtoverlay=i2c-rtc,ds3231). Alarms need no time; readings wait for it."
        )
        return missing("clock", "time", "nothing has set this computer's clock", repair)
    what = {"ntp": "set by a time server", "rtc": "set by the clock chip", "peer": "set by the server"}[source]
    return good("clock", "time", what)


def data_folder(folder: Path) -> Check:
    at = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not at.is_dir() or not os.access(at, os.W_OK | os.X_OK):
        repair = f"sudo chown {os.environ.get('USER', 'emberwatch')} {at}, or name another in EMBERWATCH_DATA_DIR"
        return missing("storage", "data folder", f"{folder}: not writable", repair)
    if os.statvfs(at).f_flag & os.ST_RDONLY:
        return missing(
            "storage", "data folder", f"{folder}: read-only", f"sudo mount -o remount,rw {at}; check the card"
        )
    free = shutil.disk_usage(at).free
    if free < FREE_MIN:
        return warning(
            "storage", "data folder", f"{folder}: {free / 1e6:.0f} MB free", "Make room: 1 GB for the journals."
        )
    return good("storage", "data folder", f"{folder}: {free / 1e9:.1f} GB free")


def settings_file(path: Path) -> Check:
    try:
        read_yaml(path)
    except ConfigError as error:
        return missing(
            "settings", path.name, str(error), f"Correct {path}, or copy the shipped one from deploy/pi/etc."
        )
    return good("settings", path.name, str(path))
