"""Status, heartbeat and Last Will of a service at a real Mosquitto."""

import asyncio
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.client import Bus
from services.bus.messages import SampleId, Status, new_boot, read_as
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.bus.wire import PROCESS, STATUS, TOPIC, at, connected, online, until
from tests.fixtures_mosquitto import Broker


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return at(broker.port, tmp_path)


def statuses(messages: list[bytes]) -> list[Status]:
    return [read_as(Topic.parse(STATUS.format("x")), payload, Status) for payload in messages]


async def test_a_service_says_that_it_lives_and_that_it_ends(
    broker: Broker, settings: BusSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with broker.client() as client:
        client.subscribe(STATUS.format("sensor"))
        async with connected(settings, "sensor") as bus:
            bus.counters.add("published", 3)
            bus.positions["pi/pack-1/telemetry.battery"] = SampleId(boot=new_boot(), seq=7)
            await asyncio.to_thread(client.wait_count, 4)
        await asyncio.to_thread(client._wait, lambda: b"offline" in client._messages[-1].payload, 10.0, "offline")
        first, *beats, last = statuses([bytes(m.payload) for m in client.messages])
    assert (first.state, last.state, first.session, last.session) == ("online", "offline", bus.session, bus.session)
    assert beats[-1].counters["published"] == 3
    assert beats[-1].positions["pi/pack-1/telemetry.battery"].seq == 7
    assert beats[-1].heartbeat_s == 0.2
    assert first.installation == last.installation
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_status_too_long_for_the_broker_loses_its_positions_not_its_life_sign(
    broker: Broker, settings: BusSettings
) -> None:
    with broker.client() as client:
        client.subscribe(STATUS.format("sensor"))
        async with connected(settings, "sensor") as bus:
            for n in range(2000):
                bus.positions[f"pi/pack-{n}/telemetry.battery"] = SampleId(boot=new_boot(), seq=n)
            await until(lambda: bus.counters["status_shortened"] >= 1)
            count = len(client.messages)
            await asyncio.to_thread(client.wait_count, count + 1)
            assert statuses([bytes(client.messages[-1].payload)])[0].state == "online"
            assert bus.counters["connections"] == 1


@pytest.mark.parametrize(("how", "code"), [("kill", -signal.SIGKILL), ("raise", 3)])
async def test_the_will_of_a_service_that_dies_names_its_session(
    broker: Broker, tmp_path: Path, how: str, code: int
) -> None:
    command = [sys.executable, "-c", PROCESS, str(broker.port), str(tmp_path), how]
    with broker.client() as client:
        client.subscribe(STATUS.format("sensor"))
        process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None
            session = (await asyncio.to_thread(process.stdout.readline)).strip()
            if how == "kill":
                process.kill()
            assert await asyncio.to_thread(process.wait, 20) == code
        await asyncio.to_thread(client._wait, lambda: b"offline" in client._messages[-1].payload, 20.0, "the will")
        assert client.messages[-1].retain is False  # to those who listen; retained for those who come later
        will = statuses([bytes(client.messages[-1].payload)])[0]
    assert (will.state, will.session) == ("offline", session)


async def test_an_onlooker_has_neither_status_nor_will(broker: Broker, settings: BusSettings) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/#")
        async with Bus(settings, service="up", announce=False) as bus:
            await online(bus)
            await bus.publish(TOPIC, b"1")
        client.publish(str(TOPIC), b"2")
        messages = await asyncio.to_thread(client.wait_count, 2)
        assert [m.payload for m in messages] == [b"1", b"2"]
