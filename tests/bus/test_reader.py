"""The reader over a real broker: streams in order and complete, though broker, publisher and reader are killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.bus.client import Bus
from services.bus.feed import Delivery
from services.bus.messages import Acknowledge, Sample, StreamMessage, write
from services.bus.publisher import Publisher
from services.bus.reader import Reader
from services.bus.settings import BusSettings
from services.bus.topics import Topic, topic_filter
from tests.fixtures_mosquitto import Broker

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
FILTERS = [topic_filter("pi", kind=kind) for kind in ("telemetry", "journal", "backfill", "layout")]
FILTERS.append(topic_filter("pi", kind="command", name="alert"))


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return BusSettings(broker_port=broker.port, data_dir=tmp_path, node="pi", reconnect_max_s=0.2)


@asynccontextmanager
async def sensor(settings: BusSettings) -> AsyncIterator[Publisher]:
    """Publishes, and answers what is asked of it."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            Bus(settings, service="sensor", subscribe=[topic_filter("pi", kind="command", name="sensor")])
        )
        publisher = await stack.enter_async_context(Publisher(bus, settings, "sensor", hand_over_first=False))
        answering = asyncio.create_task(drain(Reader(bus, publisher, settings)))
        async with asyncio.timeout(20):
            await bus.wait_connected()
        yield publisher
        bus.close_intake()
        await answering


async def drain(reader: Reader) -> None:
    async for _ in reader.batches():
        pass


@asynccontextmanager
async def alert(settings: BusSettings, patience_s: float = 30.0) -> AsyncIterator[Reader]:
    async with (
        Bus(settings, service="alert", subscribe=FILTERS) as bus,
        Publisher(bus, settings, "alert") as publisher,
    ):
        async with asyncio.timeout(20):
            await bus.wait_connected()
        yield Reader(bus, publisher, settings, patience_s=patience_s)


async def take(reader: Reader, count: int) -> list[Delivery]:
    """At least `count` deliveries, acknowledged."""
    found: list[Delivery] = []
    async with asyncio.timeout(30):
        async for batch in reader.batches():
            if len(found) >= count:
                break  # what came before is acknowledged by now
            found += batch
    return found


def identities(deliveries: list[Delivery]) -> list[tuple[str, int]]:
    return [(d.message.boot, d.message.seq) for d in deliveries if isinstance(d.message, StreamMessage)]


async def publish(publisher: Publisher, count: int) -> list[tuple[str, int]]:
    result = []
    for n in range(count):
        fields = {
            "ts": "2026-11-21T08:15:02.250Z",
            "mono": float(n),
            "layout": "b1c4e07d",
            "channels": {"voltage": 3.7},
        }
        identity = await publisher.publish(STREAM, fields)
        result.append((identity.boot, identity.seq))
    return result


async def keep_only(publisher: Publisher, count: int) -> list[tuple[str, int]]:
    """In the journal, and nowhere else: what a broker loses that is killed with its queue."""
    original = publisher._bus.publish
    setattr(publisher._bus, "publish", lost)  # noqa: B010 - not the type's business
    try:
        return await publish(publisher, count)
    finally:
        setattr(publisher._bus, "publish", original)  # noqa: B010


async def lost(*_: Any, **__: Any) -> None:
    """A publication that nobody gets."""


async def test_what_a_broker_lost_comes_out_of_the_journal_in_its_place(settings: BusSettings) -> None:
    async with sensor(settings) as publisher, alert(settings) as reader:
        expected = await publish(publisher, 5)
        expected += await keep_only(publisher, 700)
        expected += await publish(publisher, 5)
        assert identities(await take(reader, 710)) == expected
        assert reader._bus.counters["skipped"] == 0
        assert publisher._bus.counters["backfilled"] == 700


async def test_the_end_of_a_killed_start_is_read_before_the_next_begins(settings: BusSettings) -> None:
    async with alert(settings) as reader:
        async with AsyncExitStack() as crash:
            publisher = await crash.enter_async_context(sensor(settings))
            expected = await publish(publisher, 3)
            assert identities(await take(reader, 3)) == expected
            tail = await keep_only(publisher, 3)
            publisher._open.clear()  # nobody closes it: as after kill -9
        async with sensor(settings) as publisher:
            following = await publish(publisher, 3)
            assert identities(await take(reader, 6)) == tail + following


async def test_a_restarted_reader_goes_on_at_its_kept_positions_and_repeats_nothing(settings: BusSettings) -> None:
    async with sensor(settings) as publisher:
        async with alert(settings) as reader:
            expected = await publish(publisher, 20)
            assert identities(await take(reader, 20)) == expected
            kept = orjson.loads(orjson.dumps(reader.cursors()))
            more = await publish(publisher, 20)
            async with asyncio.timeout(20):
                async for batch in reader.batches():  # worked off, and killed before it is kept or acknowledged
                    if batch:
                        break
        more += await publish(publisher, 20)
        async with alert(settings) as reader:
            reader.restore(kept)
            assert identities(await take(reader, 40)) == more
            assert identities(await take(reader, 0)) == []


async def test_bad_messages_are_counted_acknowledged_and_hold_nothing_up(broker: Broker, settings: BusSettings) -> None:
    async with sensor(settings) as publisher, alert(settings) as reader:
        with broker.client() as third_party:
            third_party.publish(str(STREAM), b"not json")
            third_party.publish(str(STREAM), b'{"boot": "x", "channels": {"voltage": NaN}}')
            third_party.publish("emberwatch/v1/pi/pack-1/telemetry/Bad Name", b"{}")
            third_party.publish(str(STREAM.of_stream("journal")), b'{"ranges": 3}')
            third_party.publish("emberwatch/v1/pi/pack-1/journal/nonsense", b"{}")
            ragged = {"boot": publisher.boot, "seq": [0, 1], "ts": [], "channels": {"voltage": [1.0]}}
            third_party.publish(str(STREAM.of_stream("backfill")), orjson.dumps(ragged))
            third_party.publish(
                "emberwatch/v1/pi/pack-1/command/alert", b'{"correlation_id": "1", "action": "explode"}'
            )
        expected = await publish(publisher, 3)
        assert identities(await take(reader, 3)) == expected
        assert reader._bus.counters["rejected"] == 7
    async with alert(settings) as reader:
        assert await take(reader, 0) == []


async def test_a_block_with_one_bad_message_gives_the_others_and_does_not_ask_for_ever(
    broker: Broker, settings: BusSettings
) -> None:
    """What the publisher's journal holds is wrong itself: waiting for it would only cost time."""
    async with alert(settings) as reader, sensor(settings) as publisher:
        boot = publisher.boot
        good = await publish(publisher, 1)
        bad = {"ts": "2026-11-21T08:15:02.250Z", "mono": 1.0, "layout": "b1c4e07d", "channels": {"Voltage!": 3.7}}
        await publisher.publish(STREAM, bad)
        await publisher.publish(STREAM, bad | {"channels": {"voltage": "3.7"}})
        good += await publish(publisher, 3)
        assert identities(await take(reader, 4)) == good == [(boot, n) for n in (0, 3, 4, 5)]
        assert reader.feed.skipped == 2


async def test_other_kinds_come_as_they_are_and_commands_for_the_own_streams_are_carried_out(
    broker: Broker, settings: BusSettings
) -> None:
    command = Acknowledge(correlation_id="1", action="acknowledge", rule="cell_spread", by="anna")
    async with alert(settings) as reader:
        await reader._publisher.publish(
            Topic("pi", "pack-1", "event", "cell_spread"), {"ts": "2026-11-21T08:15:02.250Z", "mono": 0.0}
        )
        ask = {"correlation_id": "2", "action": "backfill", "stream": "event.cell_spread"}
        with broker.client() as client:
            client.subscribe("emberwatch/v1/pi/pack-1/backfill/#")
            payload = ask | {"boot": reader._publisher.boot, "ranges": [[0, 0]]}
            client.publish("emberwatch/v1/pi/pack-1/command/alert", orjson.dumps(payload))
            client.publish("emberwatch/v1/pi/pack-1/command/alert", write(command))
            assert [d.message for d in await take(reader, 1)] == [command]
            message = await asyncio.to_thread(client.wait_for, "emberwatch/v1/pi/pack-1/backfill/event.cell_spread")
            assert orjson.loads(message.payload)["messages"][0]["seq"] == 0


async def test_a_tick_comes_though_nothing_else_does_and_though_the_broker_is_gone(
    broker: Broker, settings: BusSettings
) -> None:
    async with sensor(settings) as publisher, alert(settings, patience_s=0.3) as reader:
        await publish(publisher, 1)
        assert len(await take(reader, 1)) == 1
        await keep_only(publisher, 1)
        (late,) = await publish(publisher, 1)
        async with asyncio.timeout(10):
            async for batch in reader.batches():
                broker.kill()  # nobody can be asked: patience ends, and the service goes on
                if batch:
                    assert identities(batch) == [late]
                    break
        assert isinstance(batch[0].message, Sample)
        assert not reader._bus.connected or reader.feed.skipped == 1
