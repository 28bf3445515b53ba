"""What systemd hears of a service, on a real datagram socket."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bus import client as module
from services.bus.systemd import notify
from tests.bus.wire import TOPIC, at, connected, until
from tests.fixtures_mosquitto import Broker, free_ports


@pytest.fixture
def systemd(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Its end of the socket. The broker is started before: Mosquitto speaks to systemd, too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield end


def heard(end: socket.socket) -> list[str]:
    """What has come since the last look."""
    states = []
    try:
        while True:
            states.append(end.recv(100).decode())
    except BlockingIOError:
        return states


async def test_ready_alive_stopping(systemd: socket.socket, broker: Broker, tmp_path: Path) -> None:
    async with connected(at(broker.port, tmp_path), "sensor"):
        assert heard(systemd)[0] == "READY=1"
        for _ in range(3):
            await until(lambda: "WATCHDOG=1" in heard(systemd))
    assert [state for state in heard(systemd) if state != "WATCHDOG=1"] == ["STOPPING=1"]


async def test_a_service_that_hangs_is_no_longer_vouched_for(
    systemd: socket.socket, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_MIN_S", 0.2)
    async with connected(at(broker.port, tmp_path), "alert", str(TOPIC)) as bus:
        async for _ in bus.batches(tick_s=0.05):
            await until(lambda: bus.counters["stalled"] >= 1)
            heard(systemd)
            await until(lambda: bus.counters["stalled"] >= 4)
            assert heard(systemd) == []
            break
        await until(lambda: "WATCHDOG=1" in heard(systemd))


async def test_a_broker_that_is_away_is_no_reason_to_be_restarted(systemd: socket.socket, tmp_path: Path) -> None:
    async with module.Bus(at(free_ports(1)[0], tmp_path), service="sensor"):
        for _ in range(2):
            await until(lambda: "WATCHDOG=1" in heard(systemd))


async def test_an_onlooker_tells_nothing(systemd: socket.socket, broker: Broker, tmp_path: Path) -> None:
    async with module.Bus(at(broker.port, tmp_path), service="console", announce=False, client_id="c") as bus:
        await asyncio.wait_for(bus.wait_connected(), 10)
        await asyncio.sleep(3 * at(broker.port, tmp_path).heartbeat_s)
    assert heard(systemd) == []


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify", "@emberwatch-nobody-listens"])
def test_where_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0emberwatch-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@emberwatch-test-notify")
        assert notify("READY=1")
        assert end.recv(100) == b"READY=1"
