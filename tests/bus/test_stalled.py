"""A service whose work hangs does not say that it lives."""

import asyncio
from pathlib import Path

import pytest

from services.bus import client as module
from services.bus.client import Bus
from services.bus.settings import BusSettings
from tests.bus.wire import STATUS, TOPIC, at, connected, take, until
from tests.fixtures_mosquitto import Broker


@pytest.fixture
def settings(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BusSettings:
    monkeypatch.setattr(module, "STALL_MIN_S", 0.4)
    return at(broker.port, tmp_path)


async def test_a_consumer_that_hangs_is_not_vouched_for_until_it_comes_back(
    broker: Broker, settings: BusSettings
) -> None:
    released = asyncio.Event()

    async def judge(bus: Bus) -> None:
        async for batch in bus.batches(tick_s=0.05):
            if batch:
                await released.wait()

    with broker.client() as client:
        client.subscribe(STATUS.format("alert"))
        async with connected(settings, "alert", str(TOPIC)) as bus:
            judging = asyncio.create_task(judge(bus))
            await asyncio.to_thread(client.wait_count, 4)  # idle, but its ticks come
            assert bus.counters["stalled"] == 0
            await asyncio.to_thread(client.publish, str(TOPIC), b"1")
            await until(lambda: bus.counters["stalled"] >= 1)
            said = len(client.messages)
            await until(lambda: bus.counters["stalled"] >= 4)
            assert len(client.messages) == said
            released.set()
            await asyncio.to_thread(client.wait_count, said + 2)
            assert b'"stalled":' in client.messages[-1].payload
            bus.close_intake()
            await judging


async def test_a_consumer_that_was_ended_is_no_stall(broker: Broker, settings: BusSettings) -> None:
    async def judge(bus: Bus) -> None:
        async for _ in bus.batches(tick_s=0.05):
            await asyncio.Event().wait()

    async with connected(settings, "alert") as bus:
        judging = asyncio.create_task(judge(bus))
        await until(lambda: bus.stalled)
        judging.cancel()
        await asyncio.gather(judging, return_exceptions=True)
        assert not bus.stalled


async def test_a_service_that_takes_a_batch_now_and_then_or_none_is_vouched_for(
    broker: Broker, settings: BusSettings
) -> None:
    with broker.client() as client:
        client.subscribe(STATUS.format("sensor"))
        async with connected(settings, "sensor", str(TOPIC)) as bus:
            await asyncio.to_thread(client.publish, str(TOPIC), b"1")
            assert len(await take(bus, 1)) == 1  # and leaves the loop
            await asyncio.to_thread(client.wait_count, len(client.messages) + 6)
            assert bus.counters["stalled"] == 0
