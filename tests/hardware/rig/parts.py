"""What the virtual Pi is made of: data only. A change here makes another cache entry: nothing stale is booted."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Suite:
    """A release of Debian, from which one of Raspberry Pi OS is made.

    Args:
        python: minor version of its Python.
        glibc: of 2.`glibc`, the newest that a wheel may ask for.
        modules: of its kernel, beyond MODULES.
    """

    name: str
    python: str
    glibc: int
    modules: tuple[str, ...] = ()


BOOKWORM: Final = Suite("bookworm", "3.11", 36)  # Raspberry Pi OS 12
TRIXIE: Final = Suite("trixie", "3.13", 41, ("drivers/power/sequencing",))  # 13, but no lgpio: no button
SUITES: Final = {suite.name: suite for suite in (BOOKWORM, TRIXIE)}
MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
HOST_PACKAGES: Final = {  # command or file: Debian package that has it
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    KEYRING: "debian-archive-keyring",
    "mke2fs": "e2fsprogs",
    "fdtput": "device-tree-compiler",
    "depmod": "kmod",
}
SYSTEM_PACKAGES: Final = (
    "bluez",
    "busybox-static",
    "dbus",
    "i2c-tools",
    "iproute2",
    "kmod",
    "mosquitto",
    "mosquitto-clients",
    "procps",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
    "udev",
)
USERS: Final = ("messagebus", "mosquitto", "systemd-network")
GROUPS: Final = ("bluetooth", "gpio", "i2c", "netdev")
LINKS: Final = {
    "usr/bin/awk": "mawk",
    "usr/bin/sh": "dash",
    "usr/bin/which": "which.debianutils",
    "var/run": "/run",
    "var/lock": "/run/lock",
}
COPIES: Final = {"etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf"}
LEFT_OUT: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale")
NOT_COMPILED: Final = (  # folders of wheels of which hardly anything is imported
    "tests",
    "google",
    "markdown_it",
    "pygments",
    "quantization",
    "rich",
    "setuptools",
    "tools",
    "transformers",
)
MASKED_UNITS: Final = (  # what a boot would spend emulated seconds on
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "getty@.service",
    "serial-getty@.service",
    "systemd-timesyncd.service",
    "systemd-udev-trigger.service",  # what is there from the start needs no rule
    "systemd-logind.service",
    "systemd-update-utmp.service",
)
KERNEL: Final = "linux-image-arm64"  # the package that depends on the present one
MODULES: Final = (  # folders and files below /lib/modules/VERSION/kernel
    "net/bluetooth",
    "net/rfkill",
    "net/core",
    "net/unix",
    "net/netfilter",
    "drivers/bluetooth",
    "drivers/i2c",
    "drivers/w1",
    "drivers/hwmon",
    "drivers/usb/core",
    "drivers/usb/common",
    "drivers/usb/usbip",
    "drivers/hid",
    "drivers/gpio",
    "drivers/virtio",
    "drivers/block/virtio_blk.ko",
    "drivers/char/virtio_console.ko",
    "drivers/char/hw_random",
    "drivers/net/virtio_net.ko",
    "drivers/watchdog/softdog.ko",
    "drivers/tty/serial",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "crypto",
    "arch/arm64/crypto",
    "lib",
    "fs/ext4",
    "fs/jbd2",
    "fs/mbcache.ko",
    "fs/autofs",
    "fs/fuse",
)
FIRST_MODULES: Final = (  # the initial ramdisk's, in the order of loading: what the root file system needs
    "virtio_mmio",
    "virtio_blk",
    "crc32c_generic",
    "crc16",
    "mbcache",
    "jbd2",
    "ext4",
)
DEVICE_TREE: Final = (  # node, property, type (of fdtput), values: a Raspberry Pi 5 to gpiozero and Blinka
    ("/", "model", "s", ("Raspberry Pi 5 Model B Rev 1.0",)),
    ("/", "compatible", "s", ("raspberrypi,5-model-b", "brcm,bcm2712", "linux,dummy-virt")),
    ("/system", "linux,revision", "x", ("d04170",)),
)
