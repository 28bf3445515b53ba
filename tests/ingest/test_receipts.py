"""Receipts, announcements and losses in the stream's row, against the same arithmetic in Python."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.bus.messages import Journal
from services.bus.ranges import RangeSet
from services.bus.topics import Topic
from services.ingest import receipts
from services.ingest.receipts import announce, compact, from_multirange, lose
from services.ingest.rows import StreamKey
from services.ingest.writer import find_stream
from tests.ingest.conftest import BOOT, TOPIC

KEY = StreamKey.of(TOPIC, BOOT)
RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)).map(lambda r: (r[0], r[0] + r[1])), max_size=5)
BATCHES = st.lists(st.tuples(RANGES, RANGES, RANGES, RANGES), min_size=1, max_size=4)


async def receive(connection: Any, stream: int, ranges: RangeSet) -> None:
    await connection.executemany(
        "INSERT INTO receipt (stream, lo, hi) VALUES ($1, $2, $3)", [(stream, a, b) for a, b in ranges]
    )


def journal(timed: RangeSet, untimed: RangeSet, lost: RangeSet, **more: Any) -> Journal:
    def of(ranges: RangeSet, **fields: Any) -> list[dict[str, Any]]:
        return [{"boot": BOOT, "first": a, "last": b, **fields} for a, b in ranges]

    held = of(timed, **more) + of(untimed, timed=False, **more)
    return Journal.model_validate({"ranges": held, "lost": of(lost)})


async def sets(connection: Any) -> dict[str, RangeSet]:
    row = await connection.fetchrow("SELECT * FROM stream WHERE boot = $1", BOOT)
    return {k: from_multirange(row[k]) for k in ("received", "announced", "lost", "untimed", "missing")}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
async def test_missing_is_what_was_promised_or_passed_over_and_is_not_here(connection: Any, batches: Any) -> None:
    await connection.execute("TRUNCATE stream, receipt")
    stream = await find_stream(connection, KEY)
    received, announced, untimed, lost = RangeSet(), RangeSet(), RangeSet(), RangeSet()
    for parts in batches:
        came, timed, undated, gone = (RangeSet(part) for part in parts)
        undated = undated.difference(timed)
        await receive(connection, stream, came)
        await compact(connection)
        received.update(came)
        lost, untimed = lost.difference(came), untimed.difference(came)
        await announce(connection, TOPIC, journal(timed, undated, gone))
        announced.update(timed).update(undated).update(gone)
        lost = lost.update(gone).difference(received)
        if timed or undated or gone:
            untimed = untimed.difference(timed).update(undated).difference(received)
        else:
            untimed = RangeSet()  # a complete announcement that no longer names the boot
        below = RangeSet([(0, received.highest)] if received else [])
        missing = announced.copy().update(below).difference(received).difference(lost).difference(untimed)
        expected = {"received": received, "announced": announced, "lost": lost, "untimed": untimed, "missing": missing}
        assert await sets(connection) == expected
    assert await connection.fetchval("SELECT count(*) FROM receipt") == 0


async def test_what_was_lost_and_turns_up_is_found_again(connection: Any) -> None:
    stream = await find_stream(connection, KEY)
    await announce(connection, TOPIC, journal(RangeSet([(10, 19)]), RangeSet(), RangeSet([(0, 9)])))
    assert list((await sets(connection))["lost"]) == [(0, 9)]
    await receive(connection, stream, RangeSet([(5, 12)]))
    assert await compact(connection) == 1
    state = await sets(connection)
    assert list(state["lost"]) == [(0, 4)]
    assert list(state["missing"]) == [(13, 19)]


async def test_a_journal_without_it_means_lost_only_once_nothing_more_can_follow(connection: Any) -> None:
    await announce(connection, TOPIC, journal(RangeSet([(0, 9)]), RangeSet(), RangeSet()))
    assert not await lose(connection, KEY, [(3, 4)], BOOT)
    assert not await lose(connection, KEY, [(3, 4)], None)
    await announce(connection, TOPIC, journal(RangeSet([(0, 9)]), RangeSet(), RangeSet(), tail_unknown=True))
    assert await lose(connection, KEY, [(3, 4)], BOOT)
    assert list((await sets(connection))["missing"]) == [(0, 2), (5, 9)]


async def test_only_streams_with_something_missing_are_looked_at(connection: Any) -> None:
    other = Topic("pi", "pack-2", "telemetry", "battery")
    await find_stream(connection, StreamKey.of(other, BOOT))
    await announce(connection, TOPIC, journal(RangeSet([(0, 9)]), RangeSet(), RangeSet()))
    assert await receipts.missing(connection) == [(KEY, RangeSet([(0, 9)]))]
