"""Which I2C chips the settings name, and whether each answers: one byte is read from it, as `i2cdetect -r` does."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from services.doctor.check import Check, good, missing

GROUP: Final = "chips"
I2C_SLAVE_FORCE: Final = 0x0706  # <linux/i2c-dev.h>; force: a kernel driver (an RTC) may have the address
ADDRESSES: Final = range(0x08, 0x78)


def named(content: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """(where it stands, address) of each `address:` below a YAML document."""
    if isinstance(content, dict):
        for key, value in content.items():
            where = f"{path}.{key}" if path else str(key)
            if key == "address" and isinstance(value, int) and value in ADDRESSES:
                yield path, value
            else:
                yield from named(value, where)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from named(value, f"{path}[{i}]")


def answers(bus: Path, address: int) -> bool:
    """Read one byte. Raises OSError when the bus itself cannot be opened."""
    with bus.open("r+b", buffering=0) as device:
        fcntl.ioctl(device, I2C_SLAVE_FORCE, address)
        try:
            return len(os.read(device.fileno(), 1)) == 1
        except OSError:
            return False


def look(bus: Path, chips: Iterator[tuple[str, int]], ask: Callable[[Path, int], bool] = answers) -> Iterator[Check]:
    """One check a chip."""
    for where, address in chips:
        name = f"{where or 'chip'} (0x{address:02x})"
        try:
            found = ask(bus, address)
        except OSError as error:
            yield missing(GROUP, name, f"{bus}: {error.strerror or error}", "See the I2C bus above.")
            continue
        if found:
            yield good(GROUP, name, "answers")
        else:
            number = bus.name.rpartition("-")[2]
            repair = f"Check its supply, SDA, SCL and address pins; `i2cdetect -y -r {number}` lists who answers."
            yield missing(GROUP, name, "does not answer", repair)
