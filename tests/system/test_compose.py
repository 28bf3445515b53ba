"""`docker compose up` as a stranger types it: everything healthy, samples moving, dashboard served; then gone."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures_mosquitto import free_ports
from training.__main__ import parser

ROOT = Path(__file__).resolve().parents[2]
PROJECT = f"emberwatch-test-{os.getpid()}"
FILES = ["-f", "docker-compose.yml", "-f", "deploy/docker/compose.ci.yml"]
PUBLISHED = ["LAN_PORT", "CLOUD_LISTEN", "TLS_PORT", "REST_PORT", "DASHBOARD_PORT"]
# Moving tags: a mirror may not have the patch versions that are the default.
IMAGES = {
    "EMBERWATCH_MOSQUITTO_IMAGE": "eclipse-mosquitto:2",
    "EMBERWATCH_POSTGRES_IMAGE": "postgres:15",
    "EMBERWATCH_PYTHON_IMAGE": "python:3.11-slim-bookworm",
}
DEMO = {"sensor", "inference", "alert", "alert-cloud", "ingest", "dashboard", "postgres"}
DEMO |= {"broker-local", "broker-gateway", "broker-cloud"}

DATASETS = "EMBERWATCH_DATASETS"

SECRETS = {
    f"EMBERWATCH_{name}_PASSWORD": f"secret-{name}"
    for name in ("LAN", "CLOUD", "INGEST", "ALERT", "DASHBOARD", "DATABASE")
}

pytestmark = pytest.mark.docker


def compose(*arguments: str, timeout_s: float = 120, variables: dict[str, str] | None = None) -> str:
    """Run docker compose in the checkout; returns its output. Raises AssertionError with the errors."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EMBERWATCH_", "COMPOSE_"))}
    command = ["docker", "compose", "-p", PROJECT, *FILES, *arguments]
    environment = inherited | IMAGES | {"DOCKER_BUILDKIT": "0"} | (variables or {})
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert result.returncode == 0, f"{' '.join(arguments)}:\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
    return result.stdout


def services(*arguments: str) -> set[str]:
    return set(compose(*arguments, "config", "--services").split())


def test_profiles_select_their_services_and_none_selects_the_demo(docker_engine: str) -> None:
    node = {"sensor", "inference", "alert", "broker-local", "broker-gateway"}
    assert services() == DEMO
    assert services("--profile", "edge") == node
    assert services("--profile", "cloud") == DEMO - node
    assert services("--profile", "train") == {"training"}


def test_a_node_gets_its_hardware_and_a_demo_none(docker_engine: str) -> None:
    def node(variables: dict[str, str]) -> dict[str, dict[str, object]]:
        content = json.loads(compose("--profile", "edge", "config", "--format", "json", variables=variables))
        return {name: content["services"][name] for name in ("sensor", "alert")}

    example = (ROOT / "deploy" / "docker" / "edge.env.example").read_text()
    pairs = (line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    given = {name: value or "secret" for name, value in pairs if name != "COMPOSE_PROFILES"}
    given |= {"EMBERWATCH_I2C_GROUP": "998", "EMBERWATCH_GPIO_GROUP": "997"}
    for name, service in node(given).items():
        devices = {(device["source"], device["target"]) for device in service["devices"]}  # type: ignore[attr-defined]
        assert ("/dev/i2c-1", "/dev/i2c-1") in devices
        assert service["build"]["args"]["EXTRA"] == "pi"  # type: ignore[index]
        assert "998" in service["group_add"]  # type: ignore[operator]
        assert name == "sensor" or ("/dev/gpiochip0", "/dev/gpiochip0") in devices
    for service in node({}).values():
        assert {device["source"] for device in service["devices"]} == {"/dev/null"}  # type: ignore[attr-defined]


def test_nothing_is_published_beyond_this_machine_and_nobody_is_root(docker_engine: str) -> None:
    content = json.loads(compose("--profile", "*", "config", "--format", "json"))
    for name, service in content["services"].items():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
        assert name == "postgres" or (service["read_only"] and service["cap_drop"] == ["ALL"]), name
        assert ":" in service.get("image", ""), name
    assert content["networks"]["edge"]["internal"]
    assert content["networks"]["store"]["internal"]


def test_images_are_pinned_to_patch_versions_and_no_password_stands_in_a_command(docker_engine: str) -> None:
    pinned = dict.fromkeys(IMAGES, "")
    content = json.loads(compose("--profile", "*", "config", "--format", "json", variables=pinned | SECRETS))
    for name, service in content["services"].items():
        bases = [service["build"]["args"]["PYTHON_IMAGE"]] if "build" in service else [service["image"]]
        assert all(re.search(r":\d+\.\d+(\.\d+)?(-|$)", base) for base in bases), (name, bases)
        said = json.dumps([service.get("healthcheck"), service.get("command"), service.get("entrypoint")])
        assert "PASSWORD" not in said, name
        assert not any(secret in said for secret in SECRETS.values()), name


def test_training_by_itself_is_every_bundle_from_the_mounted_data(docker_engine: str) -> None:
    content = json.loads(
        compose("--profile", "train", "config", "--format", "json", variables={DATASETS: "/somewhere"})
    )
    training = content["services"]["training"]
    given = parser().parse_args(training["command"])
    assert (given.verb, given.config, given.resume) == ("train", "all", True)
    mounted = {volume["target"]: volume for volume in training["volumes"]}
    assert (mounted[str(given.data)]["source"], mounted[str(given.data)]["read_only"]) == ("/somewhere", True)
    assert str(given.out.parent) in mounted


@pytest.mark.parametrize("role", ["broker-gateway", "broker-cloud"])
def test_the_demos_passwords_are_refused_on_an_open_port(docker_engine: str, role: str) -> None:
    opened = {"EMBERWATCH_LAN_PUBLISH": "0.0.0.0", "EMBERWATCH_CLOUD_PUBLISH": "0.0.0.0"}
    with pytest.raises(AssertionError, match=r"`demo`, and the port is open on 0\.0\.0\.0"):
        compose("run", "--rm", "--no-deps", role, variables=opened)
    compose("--profile", "*", "down", "-v")


@pytest.fixture(scope="module")
def demo(docker_engine: str) -> Iterator[dict[str, str]]:
    """The demo, healthy; yields the variables it was started with (free ports)."""
    ports = zip(PUBLISHED, free_ports(len(PUBLISHED)), strict=True)
    variables = {f"EMBERWATCH_{name}": str(port) for name, port in ports}
    try:
        compose("build", "sensor", "ingest", timeout_s=900, variables=variables)  # a node's image and a server's
        compose("up", "-d", "--wait", "--wait-timeout", "240", timeout_s=300, variables=variables)
        yield variables
    finally:
        compose("--profile", "*", "down", "-v", "--timeout", "5")


@pytest.mark.timeout(1200)
def test_the_demo_serves_moving_samples_and_the_dashboard(demo: dict[str, str]) -> None:
    rest = f"http://127.0.0.1:{demo['EMBERWATCH_REST_PORT']}"
    assert fetch(f"{rest}/healthz")[0] == 200

    def received() -> int:
        streams = json.loads(fetch(f"{rest}/api/v1/streams")[1])
        return sum(s["received"] for s in streams if s["kind"] == "telemetry")

    first = until(received, lambda count: count > 0)
    assert until(received, lambda count: count > first + 5) > first
    status, page = fetch(f"http://127.0.0.1:{demo['EMBERWATCH_DASHBOARD_PORT']}/")
    assert status == 200
    assert b"<title>" in page
    asked = compose("exec", "-T", "dashboard", "python", "-c", ASK_INGEST)
    assert asked.split() == ["200", "400"]  # under the name that the dashboard uses, and under a stranger's
    states = [json.loads(line) for line in compose("ps", "-a", "--format", "json").splitlines()]
    assert {state["Service"]: state["Health"] for state in states} == dict.fromkeys(DEMO, "healthy")


ASK_INGEST = """
import http.client
for host in ("ingest:8000", "evil.example"):
    connection = http.client.HTTPConnection("ingest", 8000, timeout=10)
    connection.request("GET", "/api/v1/nodes", headers={"Host": host})
    print(connection.getresponse().status)
"""


def fetch(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read()


def until(ask: Callable[[], int], enough: Callable[[int], bool], timeout_s: float = 60) -> int:
    """Ask again until the answer is enough; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if enough(answer):
            return answer
        assert time.monotonic() < deadline, f"still {answer} after {timeout_s:g} s"
        time.sleep(0.25)
