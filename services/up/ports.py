"""Six ports side by side. A system's own mosquitto on 1883 is normal and does not matter."""

import socket
from dataclasses import dataclass
from typing import Final

from services.bus.errors import ConfigError

FIRST: Final = 18_800
NAMES: Final = ("local", "gateway", "cloud", "postgres", "ingest", "dashboard")


@dataclass(frozen=True, slots=True)
class Ports:
    base: int

    def __getitem__(self, name: str) -> int:
        return self.base + NAMES.index(name)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(base: int | None) -> Ports:
    """The ports from `base`, or the first six free ones. Raises ConfigError naming the port that is in use."""
    if base is not None:
        for name in NAMES:
            if not is_free(Ports(base)[name]):
                raise ConfigError("--port-base", str(base), f"port {Ports(base)[name]} ({name}) is in use")
        return Ports(base)
    for start in range(FIRST, FIRST + 400, 10):
        if all(is_free(start + offset) for offset in range(len(NAMES))):
            return Ports(start)
    raise ConfigError("--port-base", "none", f"no six free ports from {FIRST}; give one")
