"""The bus against a real Mosquitto: what a connection promises when broker, process or network fail."""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import trustme

from services.bus import client as module
from services.bus import connection
from services.bus.client import Bus, Message
from services.bus.counters import Counters
from services.bus.errors import PayloadError, SessionTakenOverError
from services.bus.messages import MAX_PAYLOAD, Acknowledge, Command, Reply, SampleId, Status, new_boot, read_as, write
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.fixtures_mosquitto import Broker, free_ports
from tests.proxy import Proxy

TOPIC = Topic("pi", "pack-1", "event", "test")
STATUS = "emberwatch/v1/pi/node/status/{}"


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return at(broker.port, tmp_path)


def at(port: int, folder: Path) -> BusSettings:
    return BusSettings(broker_port=port, data_dir=folder, node="pi", heartbeat_s=0.2, reconnect_max_s=0.2)


@asynccontextmanager
async def connected(settings: BusSettings, service: str, *filters: str) -> AsyncIterator[Bus]:
    async with Bus(settings, service=service, subscribe=filters) as bus:
        await online(bus)
        yield bus


async def online(bus: Bus) -> None:
    async with asyncio.timeout(20):
        await bus.wait_connected()


async def offline(bus: Bus) -> None:
    async with asyncio.timeout(20):
        while bus.connected:  # noqa: ASYNC110 - it has an event for being connected only
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)


async def take(bus: Bus, count: int, *, ack: bool = True) -> list[Message]:
    """The next `count` messages."""
    found: list[Message] = []
    async with asyncio.timeout(30):
        async for batch in bus.batches(count - len(found)):
            for message in batch:
                found.append(message)
                if ack:
                    message.ack()
            if len(found) >= count:
                break
    return found


def numbers(messages: list[Message]) -> list[int]:
    return [int(m.payload) for m in messages]


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


# --- status -----------------------------------------------------------------------------------------------------------


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


PROCESS = """
import asyncio, sys
from pathlib import Path
from services.bus.client import Bus
from services.bus.settings import BusSettings

async def main():
    settings = BusSettings(broker_port=int(sys.argv[1]), data_dir=Path(sys.argv[2]), node="pi", heartbeat_s=1000)
    try:
        async with Bus(settings, service="sensor") as bus:
            await bus.wait_connected()
            print(bus.session, flush=True)
            if sys.argv[3] == "raise":
                raise RuntimeError("a bug")
            await asyncio.sleep(1000)
    except RuntimeError:
        sys.exit(3)

asyncio.run(main())
"""


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


# --- requests ---------------------------------------------------------------------------------------------------------

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


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_of_two_processes_under_one_name_one_ends_with_a_named_error(settings: BusSettings) -> None:
    """Mosquitto before 2.0.12 only closes the connection, so it shows in the retained status, too."""
    async with connected(settings, "sensor", str(TOPIC)) as first, connected(settings, "sensor", str(TOPIC)) as second:
        waiting = {asyncio.create_task(take(bus, 1)): bus for bus in (first, second)}
        async with asyncio.timeout(20):
            ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (loser,) = ended
        with pytest.raises(SessionTakenOverError, match=r"emberwatch-pi-sensor.*session taken over"):
            loser.result()
        with pytest.raises(SessionTakenOverError):
            await waiting[loser].publish(TOPIC, b"1")
        (other,) = set(waiting) - ended
        await online(waiting[other])
        await waiting[other].publish(TOPIC, b"2")  # it has the session to itself
        assert numbers(await other) == [2]
        assert waiting[other].counters["connections"] < 10


async def test_a_predecessor_that_died_is_not_taken_for_a_second_process(broker: Broker, settings: BusSettings) -> None:
    """Its retained status says online: with the broker died its will, and the broker may come back with old states."""
    async with connected(settings, "sensor") as predecessor:
        await until(lambda: predecessor._connection.unacknowledged == 0)
        broker.stop()  # saves
        await offline(predecessor)
    async with Bus(settings, service="sensor") as bus:
        broker.start()
        await online(bus)
        for _ in range(2):
            broker.kill()  # saves nothing: the predecessor's status is the retained one again
            await offline(bus)
            broker.start()
            await online(bus)
        async with connected(settings, "reader", STATUS.format("sensor")) as reader:
            while bus.session not in str((await take(reader, 1))[0].payload):
                pass


async def test_without_a_broker_entering_and_leaving_take_no_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begin = time.monotonic()
    async with Bus(at(free_ports(1)[0], tmp_path), service="sensor", subscribe=[str(TOPIC)]) as bus:
        await bus.publish(TOPIC, b"1")
        await until(lambda: bus.counters["connect_failed"] >= 3)
        assert not bus.connected
    assert time.monotonic() - begin < 5
    assert sum("Connection refused" in r.message for r in caplog.records if r.levelno >= logging.WARNING) == 1


def test_a_process_whose_broker_does_not_answer_ends_at_once(tmp_path: Path) -> None:
    """A connection attempt hangs in its thread: nobody waits for it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        filler = [socket.create_connection(server.getsockname(), timeout=5)]  # the backlog is full: SYNs are dropped
        port = server.getsockname()[1]
        code = PROCESS.replace("await bus.wait_connected()", "await asyncio.sleep(0.3); return")
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", code, str(port), str(tmp_path), ""], check=True, timeout=20)
        assert time.monotonic() - begin < 4
        for each in filler:
            each.close()


async def test_a_broker_that_drops_us_before_it_answers_is_tried_again_soon(tmp_path: Path) -> None:
    accepted = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    async with server, Bus(at(server.sockets[0].getsockname()[1], tmp_path), service="sensor"):
        async with asyncio.timeout(5):
            while accepted < 3:  # noqa: ASYNC110 - counted by the server
                await asyncio.sleep(0.01)


async def test_a_broker_that_talks_nonsense_stops_nothing(tmp_path: Path) -> None:
    accepted = 0

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.write(
            [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00\x00\x00\x30\xff\xff\xff\xff", b"\xff" * 99][
                accepted % 3
            ]
        )
        await writer.drain()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server, Bus(at(server.sockets[0].getsockname()[1], tmp_path), service="sensor"):
        async with asyncio.timeout(15):
            while accepted < 4:  # noqa: ASYNC110 - counted by the server
                await asyncio.sleep(0.01)


async def test_leaving_a_broker_that_is_stuck_takes_seconds_not_for_ever(broker: Broker, tmp_path: Path) -> None:
    with Proxy(broker.port) as link:
        begin = 0.0
        async with connected(at(link.port, tmp_path), "sensor") as bus:
            link.black_hole()
            await bus.publish(TOPIC, b"1")
            begin = time.monotonic()
        assert time.monotonic() - begin < 8


async def test_a_wrong_password_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_ports(1)[0]
    broker = Broker("cloud", port, {"EMBERWATCH_CLOUD_PORT": str(port), "EMBERWATCH_CLOUD_USERS": "pi:right"}, tmp_path)
    broker.start()
    try:
        wrong = at(port, tmp_path).model_copy(update={"broker_username": "pi", "broker_password": "wrong"})
        async with Bus(wrong, service="sensor") as bus:
            await until(lambda: bus.counters["connect_refused"] >= 2)
        warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(warnings) == 1
        assert "refuses us: Not authorized" in warnings[0]
        right = wrong.model_copy(update={"broker_password": "right"})
        async with connected(right, "sensor"):
            pass
    finally:
        broker.kill()


async def test_over_tls_everything_arrives_from_the_right_broker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS keeps decrypted bytes that wake no event loop: bursts must not get stuck."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    plain, port = free_ports(2)
    variables = {
        "EMBERWATCH_CLOUD_PORT": str(plain),
        "EMBERWATCH_TLS_PORT": str(port),
        "EMBERWATCH_TLS_BIND": "127.0.0.1",
        "EMBERWATCH_CLOUD_USERS": "ingest:a-long-secret",
        "EMBERWATCH_SERVER_CERT": str(tmp_path / "cert.pem"),
        "EMBERWATCH_SERVER_KEY": str(tmp_path / "key.pem"),
    }
    broker = Broker("cloud", plain, variables, tmp_path)
    broker.start()
    try:
        settings = at(port, tmp_path).model_copy(
            update={"broker_username": "ingest", "broker_password": "a-long-secret", "broker_ca": tmp_path / "ca.pem"}
        )
        topic = Topic("cloud", "cloud", "status", "burst")
        async with connected(settings, "ingest", str(topic)) as bus:
            for n in range(1000):
                await bus.publish(topic, b"%d" % n)
            assert numbers(await take(bus, 1000)) == list(range(1000))
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        wrong = settings.model_copy(update={"broker_ca": tmp_path / "other.pem"})
        async with Bus(wrong, service="ingest") as bus:
            await until(lambda: bus.counters["connect_failed"] >= 2)
            assert not bus.connected
        assert "certificate verify failed" in caplog.text
    finally:
        broker.kill()


async def test_an_error_while_reading_is_logged_and_the_connection_made_anew(
    settings: BusSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(settings, "loop", str(TOPIC)) as bus:

        def fail(*_: object) -> bool:
            monkeypatch.undo()
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(bus, "on_message", fail)
        await bus.publish(TOPIC, b"1")
        assert numbers(await take(bus, 1)) == [1]  # not acknowledged before: it has come again
        assert (bus.counters["connections"], bus.counters["connection_broken"]) == (2, 1)
    assert "ZeroDivisionError: a bug" in caplog.text


async def test_a_connection_that_breaks_while_a_message_is_handled_blocks_nobody(
    settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paho's callbacks hold a lock that closing the socket needs: acknowledging in one must not write at once."""
    async with connected(settings, "loop", str(TOPIC)) as bus:
        handle = bus.on_message

        def cut(topic: str, payload: bytes, message: object) -> bool:
            monkeypatch.undo()
            assert bus._connection._socket is not None
            bus._connection._socket.shutdown(socket.SHUT_RDWR)
            handle(topic, payload, message)
            return bus._queue.pop().ack()

        monkeypatch.setattr(bus, "on_message", cut)
        await bus.publish(TOPIC, b"1")
        assert numbers(await take(bus, 1)) == [1]
        assert bus.counters["connections"] == 2


def test_the_counters_of_a_bus_can_be_shared(settings: BusSettings) -> None:
    counters = Counters()
    assert Bus(settings, service="sensor", counters=counters).counters is counters
    assert connection.INFLIGHT_MAX >= module.UNACKNOWLEDGED_MAX
    assert orjson.loads(write(Bus(settings, service="x").status()))["state"] == "online"
