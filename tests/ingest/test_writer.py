"""The writer on a real PostgreSQL."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from services.bus.counters import Counters
from services.bus.messages import Event, Sample, Score, read
from services.bus.topics import Topic
from services.ingest.database import migrate
from services.ingest.receipts import compact
from services.ingest.rows import Entry, StoredLayout, StreamKey, row, sample_rows
from services.ingest.writer import Writer
from services.up.postgres import EmbeddedPostgres
from tests.fixtures_postgres import free_port
from tests.ingest.conftest import BOOT, TOPIC, Ack, payload, sample, until

KEY = StreamKey.of(TOPIC, BOOT)


def entry(fields: dict[str, Any], layout: StoredLayout, ack: Ack | None = None) -> Entry:
    message = Sample.model_validate(fields)
    return Entry(str(TOPIC), payload(fields), ack, KEY, list(sample_rows(message, layout)), [message.seq], live=True)


async def test_redelivered_messages_are_stored_once_and_acknowledged_each_time(
    writer: Writer, connection: Any, layout: StoredLayout
) -> None:
    acks = [Ack() for _ in range(10)]
    batch = [entry(sample(seq), layout, acks[seq]) for seq in range(10)]
    await writer.write(batch)
    await writer.write([*batch[5:], batch[9], entry(sample(10), layout)])
    assert await connection.fetchval("SELECT count(*) FROM sample") == 11
    assert [ack.count for ack in acks] == [1] * 5 + [2] * 4 + [3]
    await compact(connection)
    row = await connection.fetchrow("SELECT * FROM stream")
    assert [(r.lower, r.upper) for r in row["received"]] == [(0, 11)]
    assert (row["first_ts"], row["last_ts"]) == (batch[0].rows[0][1], batch[9].rows[0][1].replace(second=10))


async def test_every_month_from_2000_to_2100_gets_its_partition(
    writer: Writer, connection: Any, layout: StoredLayout
) -> None:
    times = [
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2016, 2, 29, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2017, 1, 1, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    ]
    await writer.write([entry(sample(seq, ts=ts), layout) for seq, ts in enumerate(times)])
    rows = await connection.fetch("SELECT ts, tableoid::regclass::text AS place FROM sample ORDER BY ts")
    assert [r["ts"] for r in rows] == times
    assert [r["place"] for r in rows] == [f"sample_{t.year}_{t.month:02d}" for t in times]


async def test_a_refused_row_is_found_and_set_aside_and_the_others_are_stored(
    writer: Writer, connection: Any, layout: StoredLayout
) -> None:
    acks = [Ack() for _ in range(20)]
    batch = [entry(sample(seq), layout, acks[seq]) for seq in range(20)]
    batch[7].rows = [(*batch[7].rows[0][:3], [1e300], None)]  # beyond float32
    batch[13].rows = [(*batch[13].rows[0][:4], '{"voltage": "\\u0000"}')]  # jsonb takes no zero byte
    await writer.write(batch)
    stored = {r["seq"] for r in await connection.fetch("SELECT seq FROM sample")}
    assert stored == set(range(20)) - {7, 13}
    aside = await connection.fetch("SELECT * FROM quarantine ORDER BY id")
    assert [q["payload"] for q in aside] == [batch[7].payload, batch[13].payload]
    assert all("the database refuses it" in q["reason"] for q in aside)
    assert all(ack.count == 1 for ack in acks)
    await compact(connection)  # set aside is received: it is not asked for again and again
    assert [(r.lower, r.upper) for r in await connection.fetchval("SELECT received FROM stream")] == [(0, 20)]


async def test_one_bad_row_of_a_backfill_block_does_not_take_the_block_along(
    writer: Writer, connection: Any, layout: StoredLayout
) -> None:
    rows = [next(sample_rows(Sample.model_validate(sample(seq)), layout)) for seq in range(9)]
    rows[4] = (*rows[4][:3], [1e39], None)
    ack = Ack()
    await writer.write([Entry("block", b"block", ack, KEY, rows, list(range(9)))])
    assert await connection.fetchval("SELECT count(*) FROM sample") == 8
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 1
    assert ack.count == 1


async def test_quarantine_keeps_topic_reason_and_the_first_64_kib(writer: Writer, connection: Any) -> None:
    await writer.write([Entry("a\0b", b"\xff\0" * 100_000, None, reason="no JSON \0")])
    found = await connection.fetchrow("SELECT * FROM quarantine")
    assert (found["topic"], found["reason"], len(found["payload"])) == ("a?b", "no JSON ?", 65_536)


async def test_bad_messages_are_logged_once_in_ten_seconds_with_their_number(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    for first in range(0, 60, 20):
        await writer.write([Entry(f"bad/{n}", b"{", None, reason="no JSON") for n in range(first, first + 20)])
    logged = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert logged == ["quarantined (20 so far) bad/19: no JSON"]


async def test_a_block_of_a_high_rate_profile_becomes_one_row_a_reading(
    writer: Writer, connection: Any, layout: StoredLayout
) -> None:
    fields = sample(0, period_s=0.005, channels={"voltage": [1.0, 2.0, 3.0], "current": [0.5, None, 0.5]})
    await writer.write([entry(fields, layout)] * 2)
    rows = await connection.fetch("SELECT * FROM sample ORDER BY ts")
    assert [r["channels"][:2] for r in rows] == [[1.0, 0.5], [2.0, None], [3.0, 0.5]]
    assert [r["seq"] for r in rows] == [0, 0, 0]
    assert (rows[2]["ts"] - rows[0]["ts"]).total_seconds() == 0.01


async def test_scores_and_events_are_stored_with_all_their_parts(writer: Writer, connection: Any) -> None:
    score = {
        **{"boot": BOOT, "seq": 0, "ts": "2016-04-01T00:00:00.000Z", "mono": 1.0, "bundle": "dyad@1", "score": 1.84},
        **{"threshold": 1.0, "window": {"boot": BOOT, "first": 0, "last": 127}, "shares": {"voltage": 1.0}},
    }
    event = {
        **{"boot": BOOT, "seq": 0, "ts": "2016-04-01T00:00:00.000Z", "mono": 1.0, "type": "raised", "revision": 1},
        **{"occurrence": "01JC", "alarm": {"state": "unacknowledged_active", "active": True, "severity": "high"}},
    }
    entries = []
    for kind, fields in (("score", score), ("event", event)):
        topic = Topic("pi", "pack-1", kind, "cell_spread")
        message = read(topic, payload(fields))
        assert isinstance(message, Score | Event)
        entries.append(Entry(str(topic), b"-", None, StreamKey.of(topic, BOOT), list(row(message)), [0]))
    await writer.write(entries)
    assert await connection.fetchval("SELECT (judged ->> 'last')::int FROM score WHERE score = 1.84") == 127
    assert await connection.fetchval("SELECT alarm ->> 'severity' FROM event WHERE type = 'raised'") == "high"


async def test_nothing_is_acknowledged_while_postgresql_is_away(postgres_folder: Path) -> None:
    server = EmbeddedPostgres(postgres_folder, free_port(), options=("fsync=off",))
    await server.start()
    await migrate(server.url)
    counters = Counters()
    writer = Writer(server.url, counters, backoff_max_s=0.1)
    topic = Topic("pi", "pack-1", "estimate", "battery")
    row = (datetime(2020, 1, 1, tzinfo=UTC), 0, BOOT, 0, "{}")
    first, second = Ack(), Ack()
    try:
        await writer.write([Entry(str(topic), b"-", first, StreamKey.of(topic, BOOT), [row], [0])])
        assert server.process is not None
        backends = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        for backend in backends:  # else one of them may still commit
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        await server.wait()
        again = (datetime(2020, 1, 1, tzinfo=UTC), 1, BOOT, 0, "{}")
        writing = asyncio.create_task(
            writer.write([Entry(str(topic), b"-", second, StreamKey.of(topic, BOOT), [again], [1])])
        )
        await until(lambda: counters["database_errors"] > 0)
        assert (first.count, second.count) == (1, 0)
        await server.start()
        await asyncio.wait_for(writing, 30)
        assert second.count == 1
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT count(*) FROM estimate") == 2
        await connection.close()
    finally:
        await writer.close()
        await server.stop()


async def test_a_server_that_says_goodbye_and_does_not_hang_up(
    postgres_url: str, connection: Any, layout: StoredLayout
) -> None:
    address = urlsplit(postgres_url)
    relays: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def relay(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", address.port)
        for source, sink in ((near, forth), (far, back)):
            relays[asyncio.create_task(pump(source, sink))] = sink  # and the end of one is not the end of the other

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        counters = Counters()
        writer = Writer(postgres_url.replace(f":{address.port}/", f":{port}/"), counters, backoff_max_s=0.1)
        await writer.write([entry(sample(0), layout)])
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port IS NOT NULL"
        )
        await asyncio.wait_for(writer.write([entry(sample(1), layout)]), 30)
        assert counters["database_errors"] > 0
        assert await connection.fetchval("SELECT count(*) FROM sample") == 2
        await writer.close()
        for task, sink in relays.items():
            task.cancel()
            sink.close()
            with contextlib.suppress(OSError):
                await sink.wait_closed()
