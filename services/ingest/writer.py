"""The hot path: entries -> one transaction of binary COPY, INSERT .. ON CONFLICT DO NOTHING and receipts.

Only after the commit are the messages acknowledged. While PostgreSQL is away the writer tries on for ever and nothing
is acknowledged; a row that it refuses is found by halving the batch, and goes to quarantine.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.bus.counters import Counters
from services.bus.messages import MAX_PAYLOAD
from services.bus.ranges import RangeSet
from services.ingest.database import TRANSIENT, Partitions
from services.ingest.rows import COLUMNS, TIME_AT, Entry, Row, StreamKey

log = logging.getLogger(__name__)

_TYPES: Final = {
    "sample": "layout int, ts timestamptz, seq bigint, channels real[], quality jsonb",
    "estimate": "ts timestamptz, seq bigint, of_boot text, of_seq bigint, estimates jsonb",
    "score": "ts timestamptz, seq bigint, score float8, threshold float8, bundle text, profile text, judged jsonb,"
    " shares jsonb, compute_ms real, latency_ms real",
    "event": "ts timestamptz, seq bigint, type text, occurrence text, revision bigint, author text, reason text,"
    " alarm jsonb",
}
_NAMES: Final = {table: ", ".join(("stream", *columns)) for table, columns in COLUMNS.items()}
_INSERT: Final = {
    table: f"INSERT INTO {table} ({names}) SELECT {names} FROM new_{table} ORDER BY stream, ts, seq"
    " ON CONFLICT DO NOTHING"
    for table, names in _NAMES.items()
}
_INSERT["sample"] = (
    f"WITH new AS ({_INSERT['sample']} RETURNING stream, ts) INSERT INTO rollup_mark (stream, ts)"
    " SELECT DISTINCT stream, date_trunc('minute', ts) FROM new"
)
_KEYS_MAX: Final = 100_000
COMPLAIN_S: Final = 10.0
_FIND: Final = "SELECT id FROM stream WHERE (node, device, kind, name, boot) = ($1, $2, $3, $4, $5)"
_ADD: Final = "INSERT INTO stream (node, device, kind, name, boot) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"


class Writer:
    """Writes entries over one connection of its own.

    Args:
        url: postgresql:// of the store.
        backoff_max_s: longest pause between two attempts while the database is away [s].
    """

    def __init__(self, url: str, counters: Counters, backoff_max_s: float = 5.0) -> None:
        self._url, self._counters, self._backoff_max_s = url, counters, backoff_max_s
        self._connection: Any = None
        self._partitions = Partitions()
        self._streams: dict[StreamKey, int] = {}
        self._complained = float("-inf")
        self.available = False

    async def close(self) -> None:
        connection, self._connection, self.available = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(*TRANSIENT):
                await connection.close(timeout=5)

    async def write(self, entries: Sequence[Entry]) -> None:
        """Store all entries and acknowledge them. Returns when that is done, however long the database is away."""
        pause = 0.1
        while entries:
            try:
                await self._commit(entries)
            except TRANSIENT as error:
                await self._dropped(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._backoff_max_s)
                continue
            except (asyncpg.PostgresError, ValueError, OverflowError, TypeError) as error:
                await self._refused(entries, error)
                return
            self._acknowledge(entries)
            return

    async def _dropped(self, error: BaseException) -> None:
        if self.available:
            log.warning("database lost: %s; nothing is acknowledged until it is back", str(error) or type(error))
        self._counters.add("database_errors")
        await self.close()

    async def _refused(self, entries: Sequence[Entry], error: BaseException) -> None:
        """Halve the batch until the refused row stands alone; set that aside."""
        if len(entries) > 1:
            middle = len(entries) // 2
            await self.write(entries[:middle])
            await self.write(entries[middle:])
            return
        entry = entries[0]
        if len(entry.seqs) > 1:
            by_seq: dict[int, list[Row]] = defaultdict(list)
            at = COLUMNS[entry.table].index("seq")
            for row in entry.rows:
                by_seq[row[at]].append(row)
            await self.write([Entry(entry.topic, entry.payload, None, entry.key, by_seq[s], [s]) for s in entry.seqs])
            self._acknowledge([Entry(entry.topic, b"", entry.message)])
            return
        reason = f"the database refuses it: {error}"
        if entry.reason is not None:  # not even quarantine takes it: drop what it is made of, keep that it was
            await self.write([Entry("unprintable", b"", entry.message, None, [], [], reason)])
            return
        await self.write([Entry(entry.topic, entry.payload, entry.message, entry.key, [], entry.seqs, reason)])

    def _acknowledge(self, entries: Sequence[Entry]) -> None:
        rows, aside = 0, None
        for entry in entries:
            rows += len(entry.rows)
            if entry.reason is not None:
                self._counters.add("quarantined")
                aside = entry
            if entry.message is not None and not entry.message.ack():
                self._counters.add("acknowledged_late")  # its connection is gone: it comes again and is a duplicate
        self._counters.add("rows", rows)
        if aside is not None and time.monotonic() - self._complained > COMPLAIN_S:
            self._complained = time.monotonic()
            log.warning(
                "quarantined (%d so far) %.200s: %.300s", self._counters["quarantined"], aside.topic, aside.reason
            )

    async def _commit(self, entries: Sequence[Entry]) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            self.available = True
        connection = self._connection
        streams = {key: await self.stream_id(key) for key in {e.key for e in entries if e.key is not None}}
        tables: dict[str, list[Row]] = defaultdict(list)
        for entry in entries:
            if entry.rows:
                head = (streams[entry.key],)  # type: ignore[index]
                tables[entry.table].extend([head + row for row in entry.rows])
        for table, rows in tables.items():
            at = TIME_AT[table] + 1
            await self._partitions.ensure(connection, table, [row[at] for row in rows])
        async with connection.transaction():
            for table, rows in tables.items():
                await connection.copy_records_to_table(f"new_{table}", records=rows)
                await connection.execute(_INSERT[table])
            receipts = _receipts(entries, streams)
            if receipts:
                columns = ["stream", "lo", "hi", "first_ts", "last_ts"]
                await connection.copy_records_to_table("receipt", records=receipts, columns=columns)
            aside = [
                (_text(e.topic), e.payload[:MAX_PAYLOAD], _text(e.reason)) for e in entries if e.reason is not None
            ]
            if aside:
                await connection.executemany(
                    "INSERT INTO quarantine (topic, payload, reason) VALUES ($1, $2, $3)", aside
                )

    async def _connect(self) -> Any:
        connection = await asyncpg.connect(self._url, command_timeout=60, timeout=10)
        try:
            for table, types in _TYPES.items():
                await connection.execute(f"CREATE TEMP TABLE new_{table} (stream int, {types}) ON COMMIT DELETE ROWS")
        except BaseException:  # a cancelled start, too, must not leave a session at the server
            connection.terminate()
            raise
        return connection

    async def stream_id(self, key: StreamKey) -> int:
        known = self._streams.get(key)
        if known is None:
            if len(self._streams) >= _KEYS_MAX:
                self._streams.clear()
            known = await find_stream(self._connection, key)
            self._streams[key] = known
        return known


async def find_stream(connection: Any, key: StreamKey) -> int:
    """Key of a stream in the store, made when new."""
    found: int | None = await connection.fetchval(_FIND, *key)
    if found is None:  # looked for first, because each INSERT uses up a number, also one in vain
        await connection.execute(_ADD, *key)
        found = await connection.fetchval(_FIND, *key)
    assert found is not None
    return found


def _receipts(entries: Iterable[Entry], streams: dict[StreamKey, int]) -> list[tuple[Any, ...]]:
    """(stream, lo, hi, first ts, last ts) of what a batch brought."""
    seqs: dict[StreamKey, RangeSet] = defaultdict(RangeSet)
    times: dict[StreamKey, list[datetime]] = defaultdict(list)
    for entry in entries:
        if entry.key is None:
            continue
        for seq in entry.seqs:
            seqs[entry.key].add(seq)
        at = TIME_AT[entry.table]
        times[entry.key].extend([row[at] for row in entry.rows])
    return [
        (streams[key], lo, hi, min(times[key], default=None), max(times[key], default=None))
        for key, ranges in seqs.items()
        for lo, hi in ranges
    ]


def _text(value: str | None) -> str:
    return (value or "").replace("\0", "?")[:2000]
