"""The emulated machine: a Cortex-A76 that says it is a Raspberry Pi 5, and the line over which commands run in it."""

import json
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.hardware.rig import edge, parts, system
from tests.hardware.rig.initrd import initrd

GUEST: Final = Path(__file__).parent / "guest"
BOOT_S: Final = 900.0  # a machine that ends is noticed at once
HOST: Final = "10.0.2.2"  # what the guest calls this host
Init = Literal["plain", "systemd"]
BOOT_IDLE_S: Final[dict[Init, float]] = {"plain": 9.0, "systemd": 18.0}  # two cores that have nothing else to do


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended: its exit code (-1: it was killed at its time limit) and what it wrote."""

    code: int
    out: str
    err: str


class GuestError(AssertionError):
    """The machine or a command in it failed."""


class Machine:
    """One machine; as a context it is booted and in the end switched off.

    Args:
        place: an empty folder of its own. `disk.img` in it is what the guest has as /var/lib/emberwatch; it outlives a
            power cut, so `cut_power()` and `boot()` show what the disk held. All other changes are forgotten.
        suite: what it has installed.
        forward: guest ports to be reached from this host; `ports` then has their numbers here.
        init: "plain" (the agent alone, first command after some seconds) or "systemd".
    Attributes:
        boot_s: from the start of the emulator to the first command.
        patience: how much longer than on an idle computer things may take, by how long the boot took.
        bluetooth: the socket at which the machine's serial Bluetooth controller is played.
    """

    def __init__(
        self,
        place: Path,
        *,
        suite: parts.Suite = parts.BOOKWORM,
        forward: Iterable[int] = (),
        init: Init = "plain",
        memory_mb: int = 1024,
    ) -> None:
        self.place = place
        self.ports = dict(zip(forward, free_ports(len(list(forward))), strict=True))
        self.boot_s = 0.0
        self.bluetooth = place / "bluetooth"
        self._init = init
        self._memory_mb = memory_mb
        self._system = system.ready(suite)
        self._disks = [self._system / "system.img", edge.dependencies(suite), edge.own_wheel(suite, place)]
        self._disk = place / "disk.img"
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._answers: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._number = 0

    def __enter__(self) -> "Machine":
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()

    @property
    def patience(self) -> float:
        return max(1.0, self.boot_s / BOOT_IDLE_S[self._init])

    @property
    def console(self) -> str:
        """What the kernel and process 1 have said."""
        file = self.place / "console.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def boot(self) -> None:
        """Returns when the first command can be run. Raises GuestError with the end of the console."""
        if not self._disk.exists():
            (self.place / "empty").mkdir()
            system.image(self.place / "empty", self._disk, spare_mb=64)
        scripts = {"start": "start.sh", "agent": "agent.py", "attach": "attach.py"}
        rig = {name: (GUEST / file).read_bytes() for name, file in scripts.items()}
        (self.place / "initrd").write_bytes(initrd(self._system, rig))
        device_tree(self.place / "pi5.dtb")
        started = time.monotonic()
        self._answers, self._number = {}, 0
        ours = socket.socketpair()
        with ours[1], (self.place / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(ours[1].fileno())],  # never outlives this process
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[ours[1].fileno()],
            )
        self._line = ours[0]
        threading.Thread(target=self._read, args=(ours[0],), name="rig line", daemon=True).start()
        self._wait(0, BOOT_S)
        self.boot_s = time.monotonic() - started

    def run(self, command: str, *, input: str = "", timeout_s: float = 60.0, check: bool = True) -> Done:
        """Run a bash command in the guest; `timeout_s` is for an idle computer.

        Raises:
            GuestError: check, and its exit code is not 0; or the machine is off or does not answer.
        """
        with self._changed:
            self._number += 1
            number = self._number
        limit_s = timeout_s * self.patience
        request = {"id": number, "command": command, "input": input, "timeout_s": limit_s}
        assert self._line is not None, "the machine is off"
        self._line.sendall(json.dumps(request).encode() + b"\n")
        answer = self._wait(number, limit_s + 15 * self.patience)
        done = Done(answer["code"], answer["out"], answer["err"])
        if check and done.code:
            raise GuestError(f"{command!r} ended with {done.code}:\n{done.out[-3000:]}\n{done.err[-3000:]}")
        return done

    def start(self, name: str, command: str, environment: Mapping[str, str] | None = None) -> int:
        """Start a program that goes on; its output is /run/NAME.log in the guest. Returns its process id."""
        settings = " ".join(f"{key}={shlex.quote(value)}" for key, value in (environment or {}).items())
        return int(self.run(f"{settings} setsid {command} >>/run/{name}.log 2>&1 </dev/null & echo $!").out)

    def write(self, path: str, text: str) -> None:
        """A file in the guest."""
        self.run(f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{shlex.quote(path)}", input=text)

    def wait_until_off(self, timeout_s: float) -> None:
        """It switches itself off. Raises GuestError."""
        assert self._process is not None, "the machine is off"
        try:
            self._process.wait(timeout_s * self.patience)
        except subprocess.TimeoutExpired:
            raise GuestError(f"it is not off after {timeout_s} s:\n{self.console[-3000:]}") from None
        self.cut_power()

    def cut_power(self) -> None:
        """At once: what was not written to a disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def _command(self, line: int) -> list[str]:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-10.0.2.15:{there}" for there, here in self.ports.items())
        drives = []
        for number, file in enumerate([*self._disks, self._disk]):
            kept = "off" if file == self._disk else "on"
            drives += ["-drive", f"file={file},if=none,id=d{number},format=raw,snapshot={kept}"]
            drives += ["-device", f"virtio-blk-device,drive=d{number}"]
        return [
            *base_command(),
            *("-m", str(self._memory_mb), "-display", "none", "-monitor", "none", "-no-reboot"),
            *("-dtb", str(self.place / "pi5.dtb"), "-kernel", str(self._system / "vmlinuz")),
            *("-initrd", str(self.place / "initrd")),
            *("-append", f"console=ttyAMA0 quiet panic=1 rig.init={self._init}"),
            *("-serial", f"file:{self.place / 'console.log'}"),
            *("-netdev", f"user,id=n{forwards}", "-device", "virtio-net-device,netdev=n"),
            *drives,
            *("-chardev", f"socket,id=agent,fd={line}", "-device", "virtio-serial-device"),
            *("-device", "virtserialport,chardev=agent,name=agent"),
            *("-chardev", f"socket,id=bt,path={self.bluetooth},server=on,wait=off", "-device", "pci-serial,chardev=bt"),
        ]

    def _read(self, line: socket.socket) -> None:
        waiting = b""
        while True:
            try:
                part = line.recv(65536)
            except OSError:
                part = b""
            if not part:
                with self._changed:
                    self._answers[-1] = None  # nobody will answer any more
                    self._changed.notify_all()
                return
            *lines, waiting = (waiting + part).split(b"\n")
            with self._changed:
                for text in lines:
                    answer = json.loads(text)
                    self._answers[answer["id"]] = answer
                self._changed.notify_all()

    def _wait(self, number: int, timeout_s: float) -> dict[str, Any]:
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or -1 in self._answers, timeout_s)
            if number not in self._answers:
                said = (self.place / "qemu.log").read_text(errors="replace")
                raise GuestError(f"no answer from the machine:\n{said[-2000:]}\n{self.console[-3000:]}")
            answer: dict[str, Any] = self._answers.pop(number)
        return answer


def base_command() -> list[str]:
    """The machine itself; the device tree is dumped with the same words.

    Its clock is this computer's. One that counts instructions (-icount) keeps services in time on a busy computer, but
    costs too much where there is as much input and output as here: docs/virtual-pi.md.
    """
    return ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-accel", "tcg,thread=multi", "-smp", "2"]


def device_tree(file: Path) -> None:
    """QEMU's own device tree with the names of a Raspberry Pi 5. Raises NoRig."""
    command = base_command()
    command[2] = f"virt,dumpdtb={file}"
    system.command([*command, "-display", "none", "-nic", "none"])
    for node, name, kind, values in parts.DEVICE_TREE:
        system.command(["fdtput", "-p", "-t", kind, str(file), node, name, *values])


def free_ports(n: int) -> list[int]:
    """Numbers of TCP ports that are free just now."""
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    numbers = [int(each.getsockname()[1]) for each in with_ports]
    for each in with_ports:
        each.close()
    return numbers
