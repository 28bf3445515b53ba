"""`emberwatch doctor` as a person runs it: on this computer, with a real broker and without."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.bus.messages import Status, write
from services.bus.settings import ROOT
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic
from tests.fixtures_mosquitto import Broker, free_ports


def doctor(tmp_path: Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "EMBERWATCH_DATA_DIR": str(tmp_path / "data")}
    environment |= {f"EMBERWATCH_{name}": str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "services", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def findings(tmp_path: Path, **variables: object) -> dict[str, dict[str, Any]]:
    done = doctor(tmp_path, "--json", **variables)
    assert done.returncode in (0, 1), done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_a_bare_computer(tmp_path: Path) -> None:
    port, gateway = free_ports(2)
    done = doctor(tmp_path, "--i2c", "250", BROKER_PORT=port, LAN_PORT=gateway)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "I2C bus" in line)
    assert lines[at].split(maxsplit=3)[0] == "missing"
    assert "/dev/i2c-250 does not exist" in lines[at]
    assert "dtparam=i2c_arm=on" in lines[at + 1]
    assert f"127.0.0.1:{port}: Connection refused" in done.stdout
    missing = sum(line.startswith("  missing") for line in lines)
    assert lines[-1].startswith(f"{missing} missing, ")


def test_every_finding_that_is_not_good_has_a_repair(tmp_path: Path) -> None:
    found = findings(tmp_path, BROKER_PORT=free_ports(1)[0])
    assert [name for name, check in found.items() if check["state"] != "good" and not check["repair"]] == []


def test_services_on_a_broker(tmp_path: Path, broker: Broker) -> None:
    now = datetime.now(UTC)
    with broker.client() as client:
        for name, state in (("sensor", "online"), ("alert", "offline")):
            status = Status(state=state, session="c1", ts=now, heartbeat_s=60)
            client.publish(str(Topic("pi", NODE_DEVICE, "status", name)), write(status), retain=True)
        server = Status(state="online", session="c2", ts=now, heartbeat_s=60)
        client.publish(str(Topic(CLOUD_NODE, CLOUD_NODE, "status", "ingest")), write(server), retain=True)
    found = findings(tmp_path, BROKER_PORT=broker.port)
    states = {name: found[name]["state"] for name in ("local broker", "sensor", "inference", "alert", "server")}
    assert states == {
        "local broker": "good",
        "sensor": "good",
        "inference": "missing",
        "alert": "missing",
        "server": "good",
    }
    assert found["alert"]["found"] == "offline"
    assert "systemctl restart emberwatch-alert" in found["alert"]["repair"]


def test_chips_that_the_settings_name(tmp_path: Path) -> None:
    wiring, config = tmp_path / "pi.yaml", tmp_path / "emberwatch.yaml"
    wiring.write_text("adc: {address: 0x48}\n")
    config.write_text(f"sensor: {{pi: {wiring}}}\n")
    found = findings(tmp_path, CONFIG=config, BROKER_PORT=free_ports(1)[0])
    assert found["adc (0x48)"]["state"] == "missing"


def test_settings_that_are_wrong_are_a_finding(tmp_path: Path) -> None:
    found = findings(tmp_path, BROKER_PORT="many")
    assert "EMBERWATCH_BROKER_PORT" in found["EMBERWATCH_BROKER_PORT"]["found"]
