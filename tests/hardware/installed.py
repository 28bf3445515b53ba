"""The edge as deploy/pi/install.sh leaves it: sandboxed units under systemd, which run as a user of their own."""

import base64
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import yaml

from tests.hardware.edge import SERVICES, SETTINGS, Edge
from tests.hardware.rig.edge import REPOSITORY

READER: Final = ("lan", "read-what-the-rig-says")
PORT: Final = 1884  # the gateway broker's, for readers in the home network
POWER: Final = 7  # the UPS's line: low = the power is lost
MORE: Final = {
    "sensor": {"host": True, "ups": {"kind": "gpio", "line": POWER, "lost": "low", "shutdown_after_s": 5}},
    "alert": {"display_file": "/run/emberwatch/lcd.txt"},
}
UNITS: Final = ("local", "gateway", *SERVICES)
# The account is the installer's step that needs packages this machine does not have. An emulated start may take long.
PREPARE: Final = """
systemctl is-system-running --wait
set -e
mkdir -p /etc/sysusers.d
echo 'u emberwatch - "Emberwatch" /var/lib/emberwatch' >/etc/sysusers.d/emberwatch.conf
systemd-sysusers
base64 -d | tar -x -C /
udevadm control --reload
chgrp -R emberwatch /etc/emberwatch
mkdir -p /etc/systemd/system/emberwatch-.service.d
printf '[Service]\\nTimeoutStartSec=900\\n' >/etc/systemd/system/emberwatch-.service.d/slow.conf
mkdir -p /etc/systemd/system/emberwatch-inference.service.d
printf '[Service]\\nWatchdogSec=15\\n' >/etc/systemd/system/emberwatch-inference.service.d/soon.conf
systemctl daemon-reload
"""


class Installed(Edge):
    """`prepare()` before the board is plugged in, then `start()`."""

    settings: ClassVar[str] = json.dumps(
        {part: of | MORE.get(part, {}) for part, of in yaml.safe_load(SETTINGS).items()}
    )
    port: ClassVar[int] = PORT
    user: ClassVar[tuple[str, str] | None] = READER

    def prepare(self) -> None:
        self.bench.pi.machine.run(PREPARE, input=base64.b64encode(files()).decode())

    def start(self, services: Sequence[str] = UNITS) -> None:
        self.configure()
        units = " ".join(f"emberwatch-{name}" for name in services)
        self.bench.pi.machine.run(f"systemctl start --no-block {units} poweroff-for-emberwatch.path")

    def logs(self) -> str:
        return self.bench.pi.machine.run("journalctl -q --no-hostname -n 120 -u 'emberwatch-*'").out

    def states(self) -> dict[str, dict[str, str]]:
        """What systemd says of each unit: ActiveState, NRestarts, MainPID, User."""
        wanted = "ActiveState,NRestarts,MainPID,User"
        said = {}
        for name in UNITS:
            lines = self.bench.pi.machine.run(f"systemctl show -p {wanted} emberwatch-{name}").out.splitlines()
            said[name] = dict(line.split("=", 1) for line in lines)
        return said


def files() -> bytes:
    """What the installer puts below the root directory, as a tar archive."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        installer = REPOSITORY / "deploy" / "pi" / "install.sh"
        subprocess.run([installer, "--root", folder, "--node", "pi"], check=True, stdout=subprocess.DEVNULL)
        settings = Path(folder) / "etc/emberwatch/emberwatch.env"
        with settings.open("a") as file:
            file.write(f"EMBERWATCH_LAN_BIND=0.0.0.0\nEMBERWATCH_LAN_PASSWORD={READER[1]}\n")
        with tarfile.open(fileobj=out, mode="w") as archive:
            for entry in Path(folder).iterdir():  # not the folder itself: the guest's / keeps its mode
                archive.add(entry, entry.name, filter=root_owns)
    return out.getvalue()


def root_owns(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
