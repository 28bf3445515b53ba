"""The bus against a real Mosquitto: delivery, acknowledgement, back-pressure, requests."""

import asyncio
from pathlib import Path

import orjson
import pytest

from services.bus import client as module
from services.bus import connection
from services.bus.client import Bus
from services.bus.counters import Counters
from services.bus.errors import PayloadError
from services.bus.messages import MAX_PAYLOAD, Acknowledge, Command, Reply, read_as, write
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.bus.wire import TOPIC, at, connected, numbers, offline, online, take, until
from tests.fixtures_mosquitto import Broker
from tests.proxy import Proxy


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return at(broker.port, tmp_path)


async def test_what_is_published_while_the_broker_is_away_arrives_in_order_when_it_is_back(
    broker: Broker, settings: BusSettings
) -> None:
    async with connected(settings, "consumer", str(TOPIC)) as consumer, connected(settings, "producer") as producer:
        for n in range(100):
            await producer.publish(TOPIC, b"%d" % n)
        assert numbers(await take(consumer, 100)) == list(range(100))
        broker.stop()  # it saves the consumer's session
        await offline(producer)
        await offline(consumer)
        for n in range(100, 200):
            await producer.publish(TOPIC, b"%d" % n)
        broker.start()
        await online(consumer)
        await online(producer)
        for n in range(200, 300):
            await producer.publish(TOPIC, b"%d" % n)
        found: list[int] = []
        while 299 not in found:
            found += numbers(await take(consumer, 1))
        # QoS 1: what the broker did not know to be acknowledged when it stopped comes again
        assert list(dict.fromkeys(n for n in found if n >= 100)) == list(range(100, 300))
        assert producer.counters["connections"] == 2


async def test_a_retained_state_of_before_an_outage_never_replaces_one_of_after(
    broker: Broker, settings: BusSettings
) -> None:
    """Whatever moment it is published at: an attempt to connect may be under way."""
    async with connected(settings, "producer") as producer:
        for turn in range(3):
            broker.kill()
            await offline(producer)
            await producer.publish(TOPIC, b"old", retain=True)
            restarting = asyncio.create_task(asyncio.to_thread(broker.start))
            revision = 0
            while not producer.connected or revision < 50:
                revision += 1
                await producer.publish(TOPIC, b"%d" % revision, retain=True)
                await asyncio.sleep(0)
                if producer._connection.unacknowledged > 1500:
                    await asyncio.sleep(0.01)
            await restarting
            await producer.publish(TOPIC, b"last %d" % turn, retain=True)
            async with connected(settings, "reader", str(TOPIC)) as reader:
                await until(lambda: producer._connection.unacknowledged == 0)
                while (await take(reader, 1))[0].payload != b"last %d" % turn:
                    pass
            with broker.client() as fresh:
                fresh.subscribe(str(TOPIC))
                assert (await asyncio.to_thread(fresh.wait_count, 1))[0].payload == b"last %d" % turn


async def test_what_is_not_acknowledged_is_delivered_again_in_order(broker: Broker, settings: BusSettings) -> None:
    async with connected(settings, "producer") as producer:
        async with connected(settings, "consumer", str(TOPIC)) as consumer:
            for n in range(50):
                await producer.publish(TOPIC, b"%d" % n)
            messages = await take(consumer, 50, ack=False)
            assert all(m.ack() for m in messages[:20])
        async with connected(settings, "consumer", str(TOPIC)) as consumer:
            again = await take(consumer, 30)
            assert numbers(again) == list(range(20, 50))
            assert all(m.redelivered for m in again)


async def test_an_acknowledgement_belongs_to_the_connection_of_its_message(
    broker: Broker, settings: BusSettings
) -> None:
    """Packet ids are reused: an old one must not acknowledge a new message that nobody has stored."""
    async with connected(settings, "consumer", str(TOPIC)) as consumer:
        await consumer.publish(TOPIC, b"1")
        (old,) = await take(consumer, 1, ack=False)
        broker.kill()  # with it goes the session: the next message gets the same packet id
        await offline(consumer)
        assert not old.ack()
        broker.start()
        await online(consumer)
        await consumer.publish(TOPIC, b"2")
        (new,) = await take(consumer, 1, ack=False)
        assert (new._mid, new.payload) == (old._mid, b"2")
        assert not old.ack()
    async with connected(settings, "consumer", str(TOPIC)) as consumer:
        assert numbers(await take(consumer, 1)) == [2]


async def test_a_message_at_qos_0_has_nothing_to_acknowledge(broker: Broker, settings: BusSettings) -> None:
    async with connected(settings, "consumer", str(TOPIC)) as consumer:
        with broker.client() as third_party:
            third_party._paho.publish(str(TOPIC), b"1", qos=0)
            assert (await take(consumer, 1, ack=False))[0].ack()
            third_party.publish(str(TOPIC), b"2")
            assert numbers(await take(consumer, 1)) == [2]
    assert consumer.counters["connections"] == 1


async def test_a_full_queue_stops_reading_and_nothing_is_lost(
    broker: Broker, settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 100)
    async with connected(settings, "consumer", str(TOPIC)) as consumer, connected(settings, "producer") as producer:
        for n in range(1000):
            await producer.publish(TOPIC, b"%d" % n)
        await until(lambda: consumer.counters["reading_paused"] > 0)
        await until(lambda: producer._connection.unacknowledged == 0)
        held = len(consumer._queue)
        assert held < 1000
        assert numbers(await take(consumer, 1000)) == list(range(1000))


async def test_publishing_waits_when_the_broker_takes_no_more(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNACKNOWLEDGED_MAX", 50)
    with Proxy(broker.port) as link:
        async with connected(at(link.port, tmp_path), "producer") as producer:
            link.black_hole()
            published = 0

            async def publish() -> None:
                nonlocal published
                for n in range(200):
                    await producer.publish(TOPIC, b"%d" % n)
                    published += 1

            publishing = asyncio.create_task(publish())
            await until(lambda: not producer.has_room)
            assert published <= 50
            link.heal()
            await asyncio.wait_for(publishing, 20)
            await until(lambda: producer.has_room)


async def test_a_consumer_that_publishes_does_not_wait_for_itself(
    broker: Broker, settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its acknowledgements come behind messages for which its queue has no place."""
    monkeypatch.setattr(module, "QUEUE_MAX", 20)
    monkeypatch.setattr(module, "UNACKNOWLEDGED_MAX", 10)
    answers = Topic("pi", "pack-1", "score", "test")
    async with (
        connected(settings, "producer") as producer,
        connected(settings, "middle", str(TOPIC)) as middle,
        connected(settings, "consumer", str(answers)) as consumer,
    ):
        for n in range(500):
            await producer.publish(TOPIC, b"%d" % n)
        await until(lambda: middle.counters["reading_paused"] > 0)

        async def work() -> None:
            async for batch in middle.batches():
                for message in batch:
                    await middle.publish(answers, message.payload)
                    message.ack()

        working = asyncio.create_task(work())
        assert numbers(await take(consumer, 500)) == list(range(500))
        middle.close_intake()
        await asyncio.wait_for(working, 10)


async def test_a_payload_over_the_limit_is_refused_here_and_costs_no_connection(settings: BusSettings) -> None:
    async with connected(settings, "loop", str(TOPIC)) as bus:
        with pytest.raises(PayloadError, match=f"payload of {MAX_PAYLOAD + 1} bytes, limit {MAX_PAYLOAD}"):
            await bus.publish(TOPIC, b"x" * (MAX_PAYLOAD + 1))
        await bus.publish(TOPIC, b"x" * MAX_PAYLOAD)
        assert len((await take(bus, 1))[0].payload) == MAX_PAYLOAD
    assert bus.counters["connections"] == 1


async def test_intake_ends_after_what_has_arrived(settings: BusSettings) -> None:
    async with connected(settings, "loop", str(TOPIC)) as bus:
        for n in range(10):
            await bus.publish(TOPIC, b"%d" % n)
        await until(lambda: len(bus._queue) == 10)
        bus.close_intake()
        await bus.publish(TOPIC, b"10")
        assert [int(m.payload) async for m in bus.messages()] == list(range(10))


async def test_batches_tick_when_nothing_comes(settings: BusSettings) -> None:
    async with connected(settings, "loop", str(TOPIC)) as bus:
        async for batch in bus.batches(tick_s=0.02):
            assert batch == []
            break


COMMANDS, REPLIES = (Topic("pi", "pack-1", kind, "alert") for kind in ("command", "reply"))


def ask(correlation_id: str) -> Acknowledge:
    return Acknowledge(correlation_id=correlation_id, action="acknowledge", rule="cell_spread", by="anna")


async def test_requests_at_once_get_each_its_own_reply(settings: BusSettings) -> None:
    async with (
        connected(settings, "alert", str(COMMANDS)) as alert,
        connected(settings, "dashboard", str(REPLIES)) as dashboard,
    ):

        async def answer() -> None:
            for message in reversed(await take(alert, 3)):
                correlation_id = read_as(COMMANDS, message.payload, Command).correlation_id
                await alert.publish(REPLIES, b"not json")
                await alert.publish(REPLIES, write(Reply(correlation_id="somebody else's", status="done")))
                await alert.publish(REPLIES, write(Reply(correlation_id=correlation_id, status="done")))

        answering = asyncio.create_task(answer())
        replies = await asyncio.gather(*(dashboard.request(COMMANDS, ask(c), c, 10.0) for c in "abc"))
        assert [r.correlation_id for r in replies] == ["a", "b", "c"]
        await answering
        others = await take(dashboard, 6)  # what answered no request of ours is a message as any other
        assert sum(m.payload == b"not json" for m in others) == 3


async def test_a_request_without_reply_ends(settings: BusSettings) -> None:
    async with connected(settings, "dashboard", str(REPLIES)) as dashboard:
        with pytest.raises(TimeoutError):
            await dashboard.request(COMMANDS, ask("x"), "x", 0.1)
        assert not dashboard._replies


def test_the_counters_of_a_bus_can_be_shared(settings: BusSettings) -> None:
    counters = Counters()
    assert Bus(settings, service="sensor", counters=counters).counters is counters
    assert connection.INFLIGHT_MAX >= module.UNACKNOWLEDGED_MAX
    assert orjson.loads(write(Bus(settings, service="x").status()))["state"] == "online"
