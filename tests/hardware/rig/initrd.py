"""The initial ramdisk: busybox, the modules that the root file system needs, and the agent. Made anew at each boot."""

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

DIRECTORY, EXECUTABLE = 0o040755, 0o100755

INIT: Final = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sysfs /sys; $B mount -t devtmpfs dev /dev
for m in /modules/*.ko; do $B insmod $m; done
n=0; while ! disk=$($B findfs LABEL=system) && [ $n -lt 100 ]; do $B sleep 0.1; n=$((n+1)); done
$B mount -t ext4 -o noatime $disk /newroot
$B mount -t tmpfs -o mode=755 run /newroot/run; $B cp -a /rig /newroot/run/rig
for d in proc sys dev; do $B mount --move /$d /newroot/$d; done
exec $B switch_root /newroot /run/rig/start
"""


def archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the kernel's `newc` format: names without leading slash, modes with their type, contents."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + path
        out += bytes(-len(out) % 4)
        out += content + bytes(-len(content) % 4)
    return bytes(out)


def initrd(system: Path, rig: Mapping[str, bytes]) -> bytes:
    """Compressed; `rig` are the executables that the guest finds in /run/rig, one of them named `start`."""
    folders = ("bin", "proc", "sys", "dev", "newroot", "modules", "rig")
    entries = [(name, DIRECTORY, b"") for name in folders]
    entries.append(("init", EXECUTABLE, INIT.encode()))
    entries.append(("bin/busybox", EXECUTABLE, (system / "busybox").read_bytes()))
    entries += [(f"modules/{m.name}", EXECUTABLE, m.read_bytes()) for m in sorted((system / "modules").iterdir())]
    entries += [(f"rig/{name}", EXECUTABLE, content) for name, content in rig.items()]
    return gzip.compress(archive(entries), 1)
