"""What the computer has: buses, pins, radio, watchdog, power. Looked up under a root folder: /dev, /proc and /sys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.doctor.check import Check, good, missing, warning

GROUP: Final = "hardware"
CONFIG_TXT: Final = "/boot/firmware/config.txt"
W1_FEATURES: Final = 2  # w1_therm: poll for the conversion's end. 1 would refuse a true 85 degC of most probes sold
INSTALLER: Final = "sudo deploy/pi/install.sh"


def look(root: Path, i2c_bus: int = 1) -> Iterator[Check]:
    """All checks of the machine; none of them talks to a chip."""
    yield model(root)
    yield i2c(root, i2c_bus)
    yield from one_wire(root)
    yield gpio(root)
    yield from bluetooth(root)
    yield watchdog(root)
    yield power(root)


def model(root: Path) -> Check:
    name = _read(root / "proc/device-tree/model").rstrip("\0")
    if name.startswith("Raspberry Pi"):
        return good(GROUP, "computer", name)
    return warning(
        GROUP,
        "computer",
        name or "not a Raspberry Pi",
        "Sensors on pins need a Raspberry Pi; a BMS over Bluetooth or MQTT, recordings and the simulator work here.",
    )


def i2c(root: Path, bus: int) -> Check:
    device = root / f"dev/i2c-{bus}"
    if not device.exists():
        repair = f"{INSTALLER}, or `dtparam=i2c_arm=on` in {CONFIG_TXT} and `sudo modprobe i2c-dev`; then reboot"
        return missing(GROUP, "I2C bus", f"/dev/i2c-{bus} does not exist", repair)
    return _usable("I2C bus", device, root, "i2c")


def one_wire(root: Path) -> Iterator[Check]:
    devices = root / "sys/bus/w1/devices"
    if not any(devices.glob("w1_bus_master*")):
        repair = f"{INSTALLER}, or `dtoverlay=w1-gpio` in {CONFIG_TXT}; then reboot"
        yield missing(GROUP, "1-Wire bus", "no bus master in /sys/bus/w1/devices", repair)
        return
    probes = sorted(devices.glob("28-*"))
    if not probes:
        repair = "Check the wires: data on GPIO 4 with 4.7 kOhm to 3.3 V. A probe shows up within seconds."
        yield missing(GROUP, "DS18B20", "no probe answers", repair)
        return
    yield good(GROUP, "DS18B20", ", ".join(probe.name for probe in probes))
    unset = [probe.name for probe in probes if _read(probe / "features").strip() not in ("", str(W1_FEATURES))]
    if unset:
        repair = f"{INSTALLER} (a udev rule), or: echo {W1_FEATURES} | sudo tee /sys/bus/w1/devices/28-*/features"
        yield warning(GROUP, "DS18B20 features", f"not set, reads take longer: {', '.join(unset)}", repair)
    seconds = _read(root / "sys/module/wire/parameters/timeout").strip()
    if seconds not in ("", "1"):
        repair = f"{INSTALLER}, or `options wire timeout=1 slave_ttl=2` in /etc/modprobe.d; then reboot"
        yield warning(GROUP, "1-Wire search", f"each {seconds} s: a pulled probe is noticed late", repair)


def gpio(root: Path) -> Check:
    chips = sorted((root / "dev").glob("gpiochip*"))
    if not chips:
        return missing(GROUP, "GPIO", "no /dev/gpiochip*", "Needs a Raspberry Pi, or a kernel with GPIO chips.")
    return _usable("GPIO", chips[0], root, "gpio")


def bluetooth(root: Path) -> Iterator[Check]:
    adapters = sorted((root / "sys/class/bluetooth").glob("hci*"))
    if not adapters:
        repair = f"Remove `dtoverlay=disable-bt` from {CONFIG_TXT}, or plug in an adapter."
        yield missing(GROUP, "Bluetooth", "no adapter in /sys/class/bluetooth", repair)
        return
    for switch in sorted((root / "sys/class/rfkill").glob("rfkill*")):
        if _read(switch / "type").strip() != "bluetooth":
            continue
        if _read(switch / "hard").strip() == "1":
            yield missing(GROUP, "Bluetooth", "switched off by a hardware switch", "Switch it on.")
            return
        if _read(switch / "soft").strip() == "1":
            yield missing(GROUP, "Bluetooth", "blocked by rfkill", "sudo rfkill unblock bluetooth")
            return
    if not (root / "run/dbus/system_bus_socket").exists():
        repair = "sudo apt-get install bluez dbus; sudo systemctl enable --now bluetooth"
        yield missing(GROUP, "Bluetooth", "no D-Bus system bus, so no BlueZ", repair)
        return
    yield good(GROUP, "Bluetooth", ", ".join(adapter.name for adapter in adapters))


def watchdog(root: Path) -> Check:
    if not (root / "dev/watchdog0").exists():
        repair = f"{INSTALLER}, or `dtparam=watchdog=on` in {CONFIG_TXT}; then reboot"
        return warning(GROUP, "hardware watchdog", "/dev/watchdog0 does not exist: a hung kernel stays hung", repair)
    return good(GROUP, "hardware watchdog", _read(root / "sys/class/watchdog/watchdog0/identity").strip() or "there")


def power(root: Path) -> Check:
    """The Pi's own under-voltage alarm (kernel driver raspberrypi-hwmon)."""
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _read(monitor / "name").strip() == "rpi_volt":
            if _read(monitor / "in0_lcrit_alarm").strip() == "1":
                repair = "Use the official 27 W (5 V, 5 A) supply and a short cable."
                return missing(GROUP, "supply", "under-voltage since the last start", repair)
            return good(GROUP, "supply", "no under-voltage since the start")
    return warning(GROUP, "supply", "this computer does not tell its supply voltage", "Nothing, unless it is a Pi.")


def _usable(name: str, device: Path, root: Path, group: str) -> Check:
    shown = f"/{device.relative_to(root)}"
    if os.access(device, os.R_OK | os.W_OK):
        return good(GROUP, name, shown)
    repair = f"sudo usermod -aG {group} $USER, then log in again (the services' user: {INSTALLER})"
    return missing(GROUP, name, f"{shown}: no permission", repair)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
