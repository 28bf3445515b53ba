"""What a Linux computer tells of itself, read from /sys, /proc and its file system. Blocking, but quick.

Under-voltage: the kernel's driver `rpi_volt` (Raspberry Pi OS and Debian) asks the firmware each 2 s whether there was
one since it asked last. Throttling: the file `get_throttled` of Raspberry Pi OS's kernel; it lies below the firmware's
device, whose name differs between boards. A computer that has one of them not has no such channel.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ZONES: Final = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp")  # the processor's; else the first zone
HELD_DOWN: Final = 0b1110  # get_throttled: capped, throttled, soft temperature limit; bit 0 is the under-voltage


class Machine:
    """One computer.

    Args:
        sys: where sysfs is; proc: where procfs is.
        disk: a folder on the disk that is watched.
    """

    def __init__(self, disk: Path, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._disk, self._sys, self._proc = disk, sys, proc
        self._busy: tuple[int, int] | None = None  # ticks: busy, all
        ways: dict[str, Callable[[], float] | None] = {
            "cpu_temperature": self._thermal(),
            "cpu_load": self._load,
            "cpu_frequency": self._number(sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e-3),
            "memory_used": self._memory,
            "disk_free": self._free,
            "under_voltage": self._under_voltage(),
            "throttled": self._throttled(),
        }
        self._ways = {name: way for name, way in ways.items() if way is not None and _works(way)}

    @property
    def channels(self) -> tuple[str, ...]:
        """What it can tell."""
        return tuple(self._ways)

    def read(self) -> tuple[Mapping[str, float], Mapping[str, str]]:
        """Channel -> value in the profile's unit; channel -> why it has none now."""
        values: dict[str, float] = {}
        faults: dict[str, str] = {}
        for name, way in self._ways.items():
            try:
                values[name] = way()
            except (OSError, ValueError, LookupError):
                faults[name] = "unreadable"
        return values, faults

    # --- ways -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _number(path: Path, scale: float = 1.0) -> Callable[[], float] | None:
        return (lambda: int(path.read_text()) * scale) if path.exists() else None

    def _thermal(self) -> Callable[[], float] | None:
        zones = sorted(self._sys.glob("class/thermal/thermal_zone*"))
        named = [zone for zone in zones if _text(zone / "type") in ZONES]
        return self._number((named or zones)[0] / "temp", 1e-3) if zones else None

    def _under_voltage(self) -> Callable[[], float] | None:
        for device in sorted(self._sys.glob("class/hwmon/hwmon*")):
            if _text(device / "name") == "rpi_volt":
                return self._number(device / "in0_lcrit_alarm")
        return None

    def _throttled(self) -> Callable[[], float] | None:
        for path in sorted(self._sys.glob("devices/platform/*/*firmware/get_throttled")):
            return lambda path=path: float(int(path.read_text(), 16) & HELD_DOWN != 0)  # type: ignore[misc]
        return None

    def _load(self) -> float:
        """Busy share since it was asked last; 0 if no tick has passed."""
        fields = [int(field) for field in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle, total = fields[3] + fields[4], sum(fields)  # idle and waiting for the disk
        before, self._busy = self._busy or (0, 0), (total - idle, total)
        passed = total - before[1]
        return min(max((total - idle - before[0]) / passed, 0.0), 1.0) if passed > 0 else 0.0

    def _memory(self) -> float:
        lines = (self._proc / "meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest}
        return 1.0 - kilobytes["MemAvailable"] / kilobytes["MemTotal"]

    def _free(self) -> float:
        found = os.statvfs(self._disk)
        return found.f_bavail / found.f_blocks


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _works(way: Callable[[], float]) -> bool:
    """At the start: what cannot be read then is not there."""
    try:
        way()
    except (OSError, ValueError, LookupError, ZeroDivisionError):
        return False
    return True
