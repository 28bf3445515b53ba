"""Receipts -> stream.received, and the other sets of seq that a stream's row holds."""

from collections.abc import Iterable
from typing import Any, Final

import asyncpg

from services.bus.messages import Journal, JournalRange, LostRange
from services.bus.ranges import RangeSet
from services.bus.topics import Topic
from services.ingest.rows import StreamKey
from services.ingest.writer import find_stream

_COMPACT: Final = """
WITH taken AS (DELETE FROM receipt WHERE (SELECT pg_try_advisory_xact_lock(1919247472)) RETURNING *),
     new AS (SELECT stream, range_agg(int8range(lo, hi + 1)) AS seqs, min(first_ts) AS first_ts, max(last_ts) AS last_ts
             FROM taken GROUP BY stream),
     found AS (SELECT count(*) AS n FROM stream JOIN new ON stream.id = new.stream WHERE stream.lost && new.seqs),
     done AS (UPDATE stream SET received = received + new.seqs, lost = lost - new.seqs, untimed = untimed - new.seqs,
                  first_ts = least(stream.first_ts, new.first_ts), last_ts = greatest(stream.last_ts, new.last_ts)
              FROM new WHERE stream.id = new.stream RETURNING 1)
SELECT (SELECT count(*) FROM done) AS streams, (SELECT n FROM found) AS found"""
_PROMISED: Final = "(announced + $2::int8multirange + $3::int8multirange + $4::int8multirange)"
_UNTIMED: Final = "((untimed - $2::int8multirange) + $3::int8multirange - received)"
_LOST: Final = "((lost + $4::int8multirange) - received)"
_ANNOUNCE: Final = f"""
UPDATE stream SET announced = {_PROMISED}, untimed = {_UNTIMED}, lost = {_LOST}, closed = closed OR $5,
    tail_unknown = tail_unknown OR $6
WHERE id = $1 AND NOT (announced = {_PROMISED} AND untimed = {_UNTIMED} AND lost = {_LOST}
    AND closed = (closed OR $5) AND tail_unknown = (tail_unknown OR $6))"""
_NO_LONGER_UNTIMED: Final = """
UPDATE stream SET untimed = '{}' WHERE node = $1 AND device = $2 AND kind = $3 AND name = $4
    AND boot <> ALL ($5) AND NOT isempty(untimed)"""
_LOSE: Final = """
UPDATE stream SET lost = lost + ($6::int8multirange - received)
WHERE (node, device, kind, name, boot) = ($1, $2, $3, $4, $5) AND (closed OR tail_unknown OR boot <> $7)
RETURNING 1"""
_MISSING: Final = """
SELECT node, device, kind, name, boot, missing FROM stream WHERE NOT isempty(missing) ORDER BY id DESC LIMIT 1000"""


def to_multirange(ranges: Iterable[tuple[int, int]]) -> list[asyncpg.Range]:
    return [asyncpg.Range(first, last + 1) for first, last in ranges]


def from_multirange(ranges: Iterable[asyncpg.Range] | None) -> RangeSet:
    return RangeSet((r.lower, r.upper - 1) for r in ranges or ())


async def compact(connection: Any) -> int:
    """Fold all receipts into their streams; how many streams found something again that was given up as lost.

    Several copies may call it: one at a time does the work, each receipt is folded once.
    """
    row = await connection.fetchrow(_COMPACT)
    return int(row["found"])


async def announce(connection: Any, topic: Topic, journal: Journal) -> None:
    """Record what a publisher's journal (a page of it) holds, has not dated yet, and had to drop.

    Args:
        topic: the stream that the journal speaks of.
    """
    boots = {r.boot for r in journal.ranges} | {r.boot for r in journal.lost}
    for boot in sorted(boots):
        held = [r for r in journal.ranges if r.boot == boot]
        stream = await find_stream(connection, StreamKey.of(topic, boot))
        await connection.execute(
            _ANNOUNCE,
            stream,
            to_multirange(_of(r for r in held if r.timed)),
            to_multirange(_of(r for r in held if not r.timed)),
            to_multirange(_of(r for r in journal.lost if r.boot == boot)),
            any(r.closed for r in held),
            any(r.tail_unknown for r in held),
        )
    if journal.pages == 1:
        name = (topic.node, topic.device, topic.kind, topic.name)
        await connection.execute(_NO_LONGER_UNTIMED, *name, sorted(boots))


async def received(connection: Any, key: StreamKey) -> RangeSet:
    """What is stored of a stream, receipts that are not folded yet left out."""
    query = "SELECT received FROM stream WHERE (node, device, kind, name, boot) = ($1, $2, $3, $4, $5)"
    return from_multirange(await connection.fetchval(query, *key))


async def lose(connection: Any, key: StreamKey, ranges: Iterable[tuple[int, int]], running: str | None) -> bool:
    """The publisher says that its journal does not have `ranges`. Final, unless that boot is still `running`."""
    done = await connection.fetchval(_LOSE, *key, to_multirange(RangeSet(ranges)), running)
    return done is not None


async def missing(connection: Any) -> list[tuple[StreamKey, RangeSet]]:
    """Streams with messages that were promised, or passed over, and are not here."""
    rows = await connection.fetch(_MISSING)
    return [(StreamKey(*row[:5]), from_multirange(row["missing"])) for row in rows]


def _of(ranges: Iterable[JournalRange | LostRange]) -> RangeSet:
    return RangeSet((r.first, r.last) for r in ranges)
