"""Real brokers on free ports, started through mosquitto/start.

`broker`: one local broker. `brokers`: local, gateway and cloud, bridged, with a proxy between gateway and cloud.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mqtt import Client
from tests.proxy import Proxy

START = Path(__file__).resolve().parents[1] / "mosquitto" / "start"
NODE = "pi"
READY_S = 10.0


@dataclass
class Broker:
    """One broker process: `start`, `stop` (SIGTERM: saves), `kill` (SIGKILL), `restart`.

    Attributes:
        user: name and password of a client that may read everything, or None for anonymous.
    """

    role: str
    port: int
    environment: dict[str, str]
    folder: Path
    user: tuple[str, str] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        """What it has written to standard error, over restarts."""
        return (self.folder / f"{self.role}.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and return when it accepts connections."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")}
        variables = inherited | {"EMBERWATCH_DATA_DIR": str(self.folder)} | self.environment
        with (self.folder / f"{self.role}.log").open("ab") as log:
            self.process = subprocess.Popen([START, self.role], env=variables, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                try:
                    code = self.process.wait(0.02)  # the pause between two attempts; ends at once if it exits
                except subprocess.TimeoutExpired:
                    assert time.monotonic() < deadline, f"{self.role} broker not ready in {READY_S} s:\n{self.log}"
                else:
                    raise AssertionError(f"{self.role} broker exited with {code}:\n{self.log}")

    def stop(self) -> None:
        self._end(kill=False)

    def kill(self) -> None:
        self._end(kill=True)

    def restart(self) -> None:
        self.stop()
        self.start()

    def client(self, *, client_id: str | None = None) -> Client:
        """A client that may read everything here."""
        return Client(self.port, self.user, client_id=client_id)

    def _end(self, *, kill: bool) -> None:
        if self.process is not None:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(READY_S)
            self.process = None


@dataclass
class Brokers:
    """The three brokers of one node `pi` and its cloud; `link` is the network between gateway and cloud."""

    local: Broker
    gateway: Broker
    cloud: Broker
    link: Proxy
    users: dict[str, tuple[str, str]]
    """Users of the cloud broker by name: ingest, alert, dashboard, pi, attic."""

    def wait_bridged(self) -> None:
        """Wait until both bridges of the gateway are connected (its own retained notifications)."""
        with self.gateway.client() as client:
            client.subscribe("$SYS/broker/connection/#")
            for remote in ("gateway", f"gateway-{NODE}"):
                client.wait_for(f"$SYS/broker/connection/{remote}/state", "1")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One local broker."""
    port = free_ports(1)[0]
    broker = Broker("local", port, {"EMBERWATCH_LOCAL_PORT": str(port)}, tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    """Local, gateway and cloud broker with passwords, bridged."""
    local, lan, cloud = free_ports(3)
    users = {name: (name, f"secret-{name}") for name in ("ingest", "alert", "dashboard", NODE, "attic")}
    with Proxy(cloud) as link:
        here = {"EMBERWATCH_LOCAL_PORT": str(local), "EMBERWATCH_LAN_PORT": str(lan), "EMBERWATCH_NODE": NODE}
        there = {"EMBERWATCH_CLOUD_HOST": "127.0.0.1", "EMBERWATCH_CLOUD_PORT": str(link.port)}
        secrets = {"EMBERWATCH_LAN_PASSWORD": "secret-lan", "EMBERWATCH_CLOUD_PASSWORD": users[NODE][1]}
        server = {
            "EMBERWATCH_CLOUD_PORT": str(cloud),
            "EMBERWATCH_CLOUD_USERS": " ".join(":".join(user) for user in users.values()),
        }
        three = Brokers(
            Broker("local", local, here, tmp_path),
            Broker("gateway", lan, here | there | secrets, tmp_path, ("lan", "secret-lan")),
            Broker("cloud", cloud, server, tmp_path, users["ingest"]),
            link,
            users,
        )
        running = (three.cloud, three.local, three.gateway)
        try:
            for each in running:
                each.start()
            three.wait_bridged()
            yield three
        finally:
            for each in running:
                each.kill()
