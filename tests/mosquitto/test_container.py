"""The same start script in the brokers' container image, with a name server that never answers."""

import time
from collections.abc import Iterator

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import PortWaitStrategy

from tests.fixtures_mosquitto import NODE, START
from tests.mqtt import Client

pytestmark = pytest.mark.docker
IMAGE = "eclipse-mosquitto:2"
SILENT = "192.0.2.1"  # RFC 5737: routed nowhere
ALARM = f"emberwatch/v1/{NODE}/pack-1/alarm/smoke"


@pytest.fixture
def ports(docker_engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Published ports of a local broker and of its gateway, whose cloud has a name that cannot be resolved."""
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)  # no reaper image: the `with` blocks end them

    def container(role: str, port: int, **variables: str) -> DockerContainer:
        made = DockerContainer(IMAGE).with_command(role).with_exposed_ports(port)
        made = made.with_volume_mapping(str(START.parent), "/emberwatch", "ro")
        made = made.with_envs(EMBERWATCH_DATA_DIR="/mosquitto/data", **variables)
        made = made.with_kwargs(entrypoint=["/bin/sh", "/emberwatch/start"], user="1883:1883", read_only=True)
        return made.with_tmpfs_mount("/tmp").waiting_for(PortWaitStrategy(port))

    local = container("local", 1883, EMBERWATCH_LOCAL_BIND="0.0.0.0", EMBERWATCH_LOCAL_ANONYMOUS="1")
    with local:
        address = local.get_docker_client().bridge_ip(local.get_wrapped_container().id)
        gateway = container(
            "gateway",
            1884,
            EMBERWATCH_NODE=NODE,
            EMBERWATCH_LOCAL_HOST=address,
            EMBERWATCH_LAN_BIND="0.0.0.0",
            EMBERWATCH_LAN_PASSWORD="secret-lan",
            EMBERWATCH_CLOUD_HOST="cloud.example.org",
        )
        gateway.with_kwargs(**gateway._kwargs, dns=[SILENT])
        with gateway:
            yield int(local.get_exposed_port(1883)), int(gateway.get_exposed_port(1884))


def test_alarms_stay_quick_while_the_name_server_is_silent(ports: tuple[int, int]) -> None:
    local_port, gateway_port = ports
    with Client(local_port) as local:
        local.subscribe(ALARM)
        worst, began, number = 0.0, time.monotonic(), 0
        while time.monotonic() - began < 6:  # a silent name server is asked for 5 s at a time
            sent = time.monotonic()
            local.publish(ALARM, f"{number}", retain=True)
            local.wait_for(ALARM, f"{number}")
            worst = max(worst, time.monotonic() - sent)
            number += 1
        assert worst < 1.0
        with Client(
            gateway_port, ("lan", "secret-lan"), timeout_s=30
        ) as lan:  # it may be blocked; the alarm path is not
            lan.subscribe(ALARM)
            assert lan.wait_for(ALARM, f"{number - 1}", timeout_s=60)
