"""The whole service between a real Mosquitto and a real PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.bus.client import Bus
from services.bus.messages import AlarmStatus, Fetch, format_time, read, write
from services.bus.publisher import Publisher
from services.bus.settings import BusSettings
from services.bus.topics import Topic, topic_filter
from services.ingest.receipts import compact, from_multirange
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings
from tests.fixtures_mosquitto import Broker
from tests.fixtures_postgres import free_port
from tests.ingest.conftest import BOOT, START, TOPIC, battery_layout, payload, sample, until
from tests.mqtt import Client

ROOT = Path(__file__).parents[2]
LAYOUT = str(Topic("pi", "pack-1", "layout", "battery"))
STATUS = str(Topic("pi", "node", "status", "sensor"))


@asynccontextmanager
async def ingest_of(url: str, folder: Path, broker: Broker, **more: Any) -> AsyncIterator[Ingest]:
    quick: dict[str, Any] = {"heartbeat_s": 1.0, "quiet_s": 0.5, "layout_wait_s": 0.3, "rollup_s": 0.5}
    settings = IngestSettings.load(
        database_url=url, data_dir=folder / "ingest", broker_port=broker.port, **quick | more
    )
    async with Ingest(settings) as ingest:
        running = asyncio.create_task(ingest.run())
        await ingest.bus.wait_connected()
        try:
            yield ingest
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def counted(connection: Any, query: str, wanted: int) -> Callable[[], Any]:
    async def reached() -> bool:
        return int(await connection.fetchval(query)) >= wanted

    return reached


def idle(ingest: Ingest) -> Callable[[], Any]:
    async def reached() -> bool:
        return ingest.writer.available and ingest.lag_s == 0

    return reached


class Process:
    """python -m services.ingest."""

    def __init__(self, url: str, folder: Path, broker: Broker) -> None:
        variables = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")}
        for name, value in {
            "DATABASE_URL": url,
            "DATA_DIR": folder / "ingest",
            "BROKER_PORT": broker.port,
            "HTTP_PORT": free_port(),
        }.items():
            variables[f"EMBERWATCH_{name}"] = str(value)
        self.process = subprocess.Popen([sys.executable, "-m", "services.ingest"], env=variables, cwd=ROOT)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


async def test_killed_in_mid_drain_it_loses_nothing_and_doubles_nothing(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    total = 6000
    with broker.client() as node:
        online = str(Topic("cloud", "cloud", "status", "ingest"))
        await asyncio.to_thread(node.subscribe, online)
        first = await asyncio.to_thread(Process, postgres_url, tmp_path, broker)
        await asyncio.to_thread(node.wait_for, online)  # its session exists
        await asyncio.to_thread(node.publish, LAYOUT, battery_layout().model_dump_json(), retain=True)
        await until(counted(connection, "SELECT count(*) FROM device", 1))
        await asyncio.to_thread(first.end, signal.SIGKILL)

        settings = BusSettings.load(node="pi", data_dir=tmp_path / "pi", broker_port=broker.port)
        async with Bus(settings, service="sensor") as bus:  # its end waits until the broker has all
            await bus.wait_connected()
            for seq in range(total):
                await bus.publish(TOPIC, payload(sample(seq)))
        second = await asyncio.to_thread(Process, postgres_url, tmp_path, broker)
        await until(counted(connection, "SELECT count(*) FROM sample", 1))
        await asyncio.to_thread(second.end, signal.SIGKILL)
        stored = await connection.fetchval("SELECT count(*) FROM sample")
        assert 0 < stored < total
        third = await asyncio.to_thread(Process, postgres_url, tmp_path, broker)
        await until(counted(connection, "SELECT count(*) FROM sample", total))
        assert await asyncio.to_thread(third.end, signal.SIGTERM) == 0
    await compact(connection)
    assert await connection.fetchval("SELECT count(*) FROM sample") == total
    assert await connection.fetchval("SELECT count(DISTINCT seq) FROM sample") == total
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 0
    assert list(from_multirange(await connection.fetchval("SELECT received FROM stream"))) == [(0, total - 1)]


@asynccontextmanager
async def sensor_of(folder: Path, broker: Broker) -> AsyncIterator[Publisher]:
    """A publisher of node pi that answers backfill and confirm."""
    settings = BusSettings.load(node="pi", data_dir=folder / "pi", broker_port=broker.port, heartbeat_s=0.5)
    bus = Bus(settings, service="sensor", subscribe=[topic_filter(node="pi", kind="command", name="sensor")])
    async with bus, Publisher(bus, settings, "sensor") as publisher:

        async def obey() -> None:
            async for message in bus.messages():
                topic = Topic.parse(message.topic)
                fetch = read(topic, message.payload)
                assert isinstance(fetch, Fetch)
                await publisher.handle(topic, fetch)
                message.ack()

        obeying = asyncio.create_task(obey())
        await bus.wait_connected()
        await bus.publish(LAYOUT, write(battery_layout()), retain=True)
        yield publisher
        obeying.cancel()


def fields(seq: int, **more: Any) -> dict[str, Any]:
    content = sample(seq, **more)
    del content["boot"], content["seq"]
    return content


async def test_what_was_published_before_it_ever_subscribed_is_healed_and_confirmed(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with sensor_of(tmp_path, broker) as sensor:
        for seq in range(1200):
            await sensor.publish(TOPIC, fields(seq))
        await sensor.announce()
        async with ingest_of(postgres_url, tmp_path, broker) as ingest:
            await until(counted(connection, "SELECT count(*) FROM sample", 1200))
            for seq in range(1200, 1210):
                await sensor.publish(TOPIC, fields(seq))
            whole = [(0, 1209)]
            await until(lambda: list(sensor.confirmed.get((str(TOPIC), sensor.boot), [])) == whole)

            async def settled() -> bool:
                row = await connection.fetchrow("SELECT received, missing FROM stream")
                return list(from_multirange(row["received"])) == whole and not row["missing"]

            await until(settled)
            assert ingest.bus.counters["healed"] >= 1200
    assert await connection.fetchval("SELECT count(*) FROM sample") == 1210


async def test_untimed_samples_wait_until_their_journal_has_dated_them(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker) as ingest, sensor_of(tmp_path, broker) as sensor:
        for seq in range(5):
            untimed = fields(seq, ts=START.replace(year=1970), time_source="none")
            await sensor.publish(TOPIC, untimed, timed=False)
        await until(lambda: ingest.bus.counters["untimed"] >= 5)
        await sensor.announce()
        await until(counted(connection, "SELECT count(*) FROM stream WHERE NOT isempty(untimed)", 1))
        assert await connection.fetchval("SELECT count(*) FROM sample") == 0
        await sensor.date(TOPIC, sensor.boot, START.timestamp(), "ntp")
        await until(counted(connection, "SELECT count(*) FROM sample", 5))
        times = [r["ts"] for r in await connection.fetch("SELECT ts FROM sample ORDER BY seq")]
        assert format_time(times[4]) == sample(4)["ts"]
        await until(counted(connection, "SELECT count(*) FROM stream WHERE isempty(untimed) AND isempty(missing)", 1))


BAD = {
    "not json": b"{voltage",
    "wrong type": payload(sample(1) | {"seq": "one"}),
    "infinity": payload(sample(2)).replace(b"-4.5", b"Infinity"),
    "a channel too many": payload(sample(3, channels={"voltage": 1.0, "pressure": 1.0})),
    "a cell too few": payload(sample(4, channels={"cell_voltages": [3.7]})),
    "beyond float32": payload(sample(5, channels={"voltage": 1e200})),
    "1970": payload(sample(6, ts=START.replace(year=1970))),
    "2106": payload(sample(7, ts=START.replace(year=2106))),
    "no such layout": payload(sample(8, layout="deadbeef")),
}
REASONS = {
    "not json": "Invalid JSON",
    "wrong type": "seq: Input should be a valid integer",
    "infinity": "channels.current",
    "a channel too many": "pressure: not in layout",
    "a cell too few": "cell_voltages: 1, the layout says a list of 3",
    "beyond float32": "the database refuses it",
    "1970": "is not between 2000 and 2100",
    "2106": "is not between 2000 and 2100",
    "no such layout": "layout deadbeef of profile battery is unknown",
}


def publish_all(node: Client, messages: dict[str, bytes]) -> None:
    for content in messages.values():
        assert node.publish(str(TOPIC), content) == "Success"


async def test_bad_messages_are_set_aside_with_their_reason_and_nothing_else_stops(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker) as ingest:
        with broker.client() as node:
            await asyncio.to_thread(node.publish, LAYOUT, battery_layout().model_dump_json(), retain=True)
            await asyncio.to_thread(publish_all, node, BAD | {"good": payload(sample(9))})
            strange = "emberwatch/v1/pi/pack-1/telemetry/Ba ttery"
            await asyncio.to_thread(node.publish, strange, b"{}")
            other = battery_layout().model_copy(update={"channels": battery_layout(4).channels})
            await asyncio.to_thread(node.publish, LAYOUT, other.model_dump_json(), retain=True)
            await until(counted(connection, "SELECT count(*) FROM quarantine", len(BAD) + 2))
        await until(counted(connection, "SELECT count(*) FROM sample", 1))
        aside = {r["payload"]: r["reason"] for r in await connection.fetch("SELECT * FROM quarantine")}
        for name, content in BAD.items():
            assert REASONS[name] in aside[content], name
        reasons = " ".join(aside.values())
        assert "use 1 to 64 of a-z" in reasons
        assert f"hash: {battery_layout().hash} already stands for other channels" in reasons
        assert ingest.bus.counters["quarantined"] == len(BAD) + 2
        assert await connection.fetchval("SELECT seq FROM sample") == 9


class Journalled:
    """A publisher whose journal holds 0 to 99 of one boot; `answer` makes its backfill block for the asked ranges."""

    def __init__(self, node: Client) -> None:
        self.node = node

    def begin(self) -> None:
        self.node.subscribe("emberwatch/v1/pi/pack-1/command/sensor")
        status = {"state": "online", "session": "1", "installation": "aa", "boot": BOOT, "heartbeat_s": 60.0}
        self.node.publish(STATUS, payload(status | {"ts": format_time(datetime.now(UTC))}), retain=True)
        self.announce()

    def announce(self) -> None:
        held = {"boot": BOOT, "first": 0, "last": 99, "first_ts": format_time(START), "last_ts": format_time(START)}
        self.node.publish(str(TOPIC.of_stream("journal")), payload({"ranges": [held]}), retain=True)

    def asked(self) -> int:
        return len([m for m in self.node.messages if b'"backfill"' in m.payload])

    def answer(self, times: int = 1, **block: Any) -> None:
        """Send the whole journal, as often."""
        common = {"boot": BOOT, "seq": list(range(100)), "time_source": "ntp", "layout": battery_layout().hash}
        columns = {
            "ts": [format_time(START + timedelta(seconds=seq)) for seq in range(100)],
            "channels": {"voltage": [355.0] * 100, "current": [1.0] * 100},
        }
        for _ in range(times):
            self.node.publish(str(TOPIC.of_stream("backfill")), payload(common | columns | block))


async def test_backfill_without_a_layout_is_asked_for_again_when_the_layout_has_come(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    quick: dict[str, Any] = {"heal_timeout_s": 0.3}
    async with ingest_of(postgres_url, tmp_path, broker, **quick) as ingest:
        with broker.client() as node:
            publisher = Journalled(node)
            await asyncio.to_thread(publisher.begin)
            await until(lambda: publisher.asked() == 1)
            await asyncio.to_thread(publisher.answer, 3)
            await until(lambda: ingest.bus.counters["without_layout"] == 300)
            await ingest.healer.tick()  # would ask again: the request has been answered
            assert ingest.bus.counters["withheld"] == 100
            assert ingest.bus.counters["backfill_asked"] == 100
            await asyncio.to_thread(node.publish, LAYOUT, battery_layout().model_dump_json(), retain=True)
            await until(lambda: publisher.asked() == 2)
            await asyncio.to_thread(publisher.answer)
            await until(counted(connection, "SELECT count(*) FROM sample", 100))
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 0


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"ts": [format_time(START)]}, "ts: 1 values for 100 seqs"),
        ({"layout": None}, "layout: missing"),
        ({"ts": [format_time(START.replace(year=1970))] * 100}, "is not between 2000 and 2100"),
    ],
)
async def test_backfill_that_does_not_fit_is_set_aside_and_not_asked_for_again(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker, block: dict[str, Any], reason: str
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker):
        with broker.client() as node:
            await asyncio.to_thread(node.publish, LAYOUT, battery_layout().model_dump_json(), retain=True)
            publisher = Journalled(node)
            await asyncio.to_thread(publisher.begin)
            await until(lambda: publisher.asked() == 1)
            await asyncio.to_thread(lambda: publisher.answer(**block))
            whole = "SELECT count(*) FROM stream WHERE isempty(missing) AND received @> '{[0,100)}'::int8multirange"
            await until(counted(connection, whole, 1))
    assert reason in await connection.fetchval("SELECT min(reason) FROM quarantine")


async def test_backfill_without_a_time_is_set_aside_when_its_journal_says_in_vain_that_it_is_dated(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker) as ingest:
        with broker.client() as node:
            publisher = Journalled(node)
            await asyncio.to_thread(publisher.begin)
            await until(lambda: publisher.asked() == 1)
            await asyncio.to_thread(lambda: publisher.answer(time_source="none"))
            await until(lambda: ingest.bus.counters["untimed"] == 100)
            await ingest.healer.tick()
            assert (ingest.bus.counters["withheld"], ingest.bus.counters["quarantined"]) == (100, 0)
            await asyncio.to_thread(publisher.announce)
            await until(lambda: publisher.asked() == 2)
            await asyncio.to_thread(lambda: publisher.answer(time_source="none"))
            await until(counted(connection, "SELECT count(*) FROM stream WHERE isempty(missing)", 1))
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 1


async def test_a_sample_may_come_before_its_layout(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker, layout_wait_s=20.0):
        with broker.client() as node:
            await asyncio.to_thread(publish_all, node, {"early": payload(sample(0))})
            await asyncio.to_thread(node.publish, LAYOUT, battery_layout().model_dump_json(), retain=True)
            await until(counted(connection, "SELECT count(*) FROM sample", 1))
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 0


async def say(node: Client, *installations: str, first: int = 0) -> None:
    """Heartbeats of a node's sensor, from second `first` on."""
    for second, installation in enumerate(installations, first):
        status = {"state": "online", "session": installation, "installation": installation, "boot": BOOT}
        status["ts"] = format_time(START.replace(second=second))
        await asyncio.to_thread(node.publish, STATUS, payload(status), retain=True)


async def test_two_installations_under_one_name_raise_an_alarm(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    async with ingest_of(postgres_url, tmp_path, broker):
        with broker.client() as node:
            await say(node, "aa", "bb", "aa", "bb")
            await until(counted(connection, "SELECT count(*) FROM alarm WHERE active", 1))
            await until(counted(connection, "SELECT count(*) FROM event", 1))
    alarm = await connection.fetchrow("SELECT node, device, rule, state ->> 'text' AS text FROM alarm")
    assert tuple(alarm)[:3] == ("cloud", "pi", "two_installations")
    assert "aa, bb" in alarm["text"]


async def test_a_restart_neither_raises_two_installations_again_nor_forgets_to_end_it(
    postgres_url: str, connection: Any, tmp_path: Path, broker: Broker
) -> None:
    with broker.client() as node:
        async with ingest_of(postgres_url, tmp_path, broker):
            await say(node, "aa", "bb", "aa", "bb")
            await until(counted(connection, "SELECT count(*) FROM alarm WHERE active", 1))
            await until(counted(connection, "SELECT count(*) FROM event", 1))
        raised = await connection.fetchrow("SELECT revision, state ->> 'occurrence' AS occurrence FROM alarm")
        async with ingest_of(postgres_url, tmp_path, broker) as ingest:
            await say(node, "aa", "bb", "aa", "bb", "aa", first=10)
            await until(counted(connection, "SELECT count(*) FROM node_status WHERE status ->> 'ts' LIKE '%:14%'", 1))
            assert ingest.bus.counters["two_installations"] == 0
            await until(idle(ingest))
        async with ingest_of(postgres_url, tmp_path, broker) as ingest:  # by now the clone is switched off
            ingest.duplicates._installations.quiet_s = 0.2
            await until(counted(connection, "SELECT count(*) FROM alarm WHERE NOT active", 1))
            await until(counted(connection, "SELECT count(*) FROM event", 2))
            await until(idle(ingest))
    state = AlarmStatus.model_validate_json(await connection.fetchval("SELECT state FROM alarm"))
    assert (state.state, state.active, state.acknowledged, state.count) == ("normal", False, True, 1)
    assert state.occurrence == raised["occurrence"]
    assert state.revision > raised["revision"]
    types = await connection.fetch("SELECT type FROM event ORDER BY revision")
    assert [t["type"] for t in types] == ["raised", "cleared"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_cleanly_on_a_signal(
    postgres_url: str, tmp_path: Path, broker: Broker, number: signal.Signals
) -> None:
    with broker.client() as node:
        status = str(Topic("cloud", "cloud", "status", "ingest"))
        await asyncio.to_thread(node.subscribe, status)
        process = await asyncio.to_thread(Process, postgres_url, tmp_path, broker)
        await asyncio.to_thread(node.wait_for, status)
        assert await asyncio.to_thread(process.end, number) == 0
        assert b'"offline"' in node.messages[-1].payload
