"""A computer's /sys and /proc as files: what a Raspberry Pi 5 with Raspberry Pi OS has."""

from pathlib import Path
from typing import Final

STAT: Final = "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 100 0 100 700 100 0 0 0 0 0\n"
MEMINFO: Final = (
    "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    6000000 kB\nHugePages_Total: 0\n"
)
FILES: Final = {
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "99000\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "51800\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
    "proc/stat": STAT,
    "proc/meminfo": MEMINFO,
}
UNDER_VOLTAGE: Final = "sys/class/hwmon/hwmon2/in0_lcrit_alarm"
THROTTLED: Final = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"


def computer(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """Write the files. `without`: beginnings of names that this computer does not have."""
    for name, content in FILES.items():
        if not name.startswith(without or ("-",)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "sys").mkdir(exist_ok=True)
    return folder
