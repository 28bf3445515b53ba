"""A connection in trouble: broker, network, second process, TLS, our own errors."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from services.bus.client import Bus
from services.bus.connection import Connection
from services.bus.errors import SessionTakenOverError
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.bus.wire import PROCESS, STATUS, TOPIC, at, connected, numbers, offline, online, take, until
from tests.fixtures_mosquitto import Broker, free_ports
from tests.proxy import Proxy


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return at(broker.port, tmp_path)


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


async def test_leaving_a_broker_that_is_stuck_takes_seconds_not_for_ever(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Connection.stop.__kwdefaults__ == {"timeout_s": 5.0}
    monkeypatch.setattr(Connection.stop, "__kwdefaults__", {"timeout_s": 0.5})
    with Proxy(broker.port) as link:
        begin = 0.0
        async with connected(at(link.port, tmp_path), "sensor") as bus:
            link.black_hole()
            await bus.publish(TOPIC, b"1")
            begin = time.monotonic()
        assert 0.4 < time.monotonic() - begin < 3


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
