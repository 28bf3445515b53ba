"""The publisher over a real broker: identity, announcements, answers, and dating."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.bus import publisher as module
from services.bus.backfill import from_backfill
from services.bus.client import Bus
from services.bus.errors import PayloadError
from services.bus.holdings import Entry
from services.bus.messages import Backfill, Fetch, Journal, Sample, format_time, new_boot, read_as
from services.bus.publisher import STREAM_PAYLOAD, Publisher
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.fixtures_mosquitto import Broker
from tests.mqtt import Client

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
EVENTS = Topic("pi", "pack-1", "event", "cell_spread")
COMMAND = Topic("pi", "pack-1", "command", "sensor")


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> BusSettings:
    return BusSettings(broker_port=broker.port, data_dir=tmp_path, node="pi", reconnect_max_s=0.2)


@asynccontextmanager
async def publishing(settings: BusSettings, **options: Any) -> AsyncIterator[Publisher]:
    async with Bus(settings, service="sensor") as bus, Publisher(bus, settings, "sensor", **options) as publisher:
        async with asyncio.timeout(20):
            await bus.wait_connected()
        yield publisher


def fields(mono: float = 0.0, **more: Any) -> dict[str, Any]:
    sample = {"ts": "2026-11-21T08:15:02.250Z", "mono": mono, "layout": "b1c4e07d", "channels": {"voltage": mono}}
    return sample | more


def fetch(action: Any, boot: str, *ranges: tuple[int, int], stream: Topic = STREAM) -> Fetch:
    return Fetch(correlation_id="1", action=action, stream=stream.stream, boot=boot, ranges=list(ranges))


async def until(client: Client, condition: Callable[[], Any]) -> Any:
    """Wait until `condition` holds of what `client` has received; returns what it gives."""
    return await asyncio.to_thread(client.wait_until, lambda _: condition() or None, "condition", timeout_s=20.0)


def blocks(client: Client, stream: Topic = STREAM) -> list[Backfill]:
    topic = stream.of_stream("backfill")
    return [read_as(topic, bytes(m.payload), Backfill) for m in client._messages if m.topic == str(topic)]


def journals(client: Client, stream: Topic = STREAM) -> list[Journal]:
    topic = stream.of_stream("journal")
    return [read_as(topic, bytes(m.payload), Journal) for m in client._messages if m.topic == str(topic)]


async def answered(client: Client, count: int) -> tuple[list[Sample], set[int]]:
    """What has come for `count` numbers: samples, and numbers that the journal does not have."""

    def found() -> tuple[list[Sample], set[int]] | None:
        samples = [Sample.model_validate(f) for block in blocks(client) for f in from_backfill(block)]
        missing = {n for block in blocks(client) for a, b in block.missing for n in range(a, b + 1)}
        return (samples, missing) if len(samples) + len(missing) >= count else None

    return await until(client, found)  # type: ignore[no-any-return]


async def test_messages_are_numbered_by_stream_and_process_start(broker: Broker, settings: BusSettings) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM), str(EVENTS))
        async with publishing(settings) as publisher:
            boot = publisher.boot
            identities = [await publisher.publish(STREAM, fields(float(n))) for n in range(3)]
            assert [(i.boot, i.seq) for i in identities] == [(boot, 0), (boot, 1), (boot, 2)]
            assert (await publisher.publish(EVENTS, fields())).seq == 0
        messages = await asyncio.to_thread(client.wait_count, 4)
        sample = read_as(STREAM, bytes(messages[1].payload), Sample)
        assert (sample.boot, sample.seq, sample.channels) == (boot, 1, {"voltage": 1.0})
        async with publishing(settings) as publisher:
            assert publisher.boot != boot
            assert (await publisher.publish(STREAM, fields())).seq == 0
        async with publishing(settings) as publisher:
            publisher.use_boot(boot)  # a recording is resumed
            assert publisher.next_seq(STREAM) == 3
            assert (await publisher.publish(STREAM, fields())).seq == 3


async def test_a_message_that_would_not_fit_a_block_is_refused_and_takes_no_number(settings: BusSettings) -> None:
    async with publishing(settings) as publisher:
        with pytest.raises(PayloadError, match=f"limit {STREAM_PAYLOAD}"):
            await publisher.publish(STREAM, fields(text="x" * STREAM_PAYLOAD))
        assert (await publisher.publish(STREAM, fields())).seq == 0


async def test_backfill_gives_what_is_there_and_names_what_is_not(broker: Broker, settings: BusSettings) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM.of_stream("backfill")))
        async with publishing(settings) as publisher:
            for n in range(900):
                await publisher.publish(STREAM, fields(float(n), layout="b1c4e07d" if n < 450 else "00000000"))
            await publisher.handle(COMMAND, fetch("backfill", publisher.boot, (5, 9), (400, 2000)))
            samples, missing = await answered(client, 1606)
            assert [s.seq for s in samples] == [*range(5, 10), *range(400, 900)]
            assert missing == set(range(900, 2001))
            assert all(s.channels == {"voltage": float(s.seq)} for s in samples)
            assert all(s.layout == ("b1c4e07d" if s.seq < 450 else "00000000") for s in samples)


@pytest.mark.parametrize(
    "ranges",
    [[(0, 2**53 - 1)], [(n, n) for n in range(0, 6000, 2)], [(7, 7), (3, 5), (4, 9)], []],
    ids=["everything", "many", "mixed", "nothing"],
)
async def test_any_question_is_answered_and_the_next_one_too(
    broker: Broker, settings: BusSettings, ranges: list[tuple[int, int]]
) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM.of_stream("backfill")))
        async with publishing(settings) as publisher:
            await publisher.publish(STREAM, fields())
            await publisher.handle(COMMAND, fetch("backfill", publisher.boot, *ranges))
            other = new_boot()
            await publisher.handle(COMMAND, fetch("backfill", other, (0, 3)))
            last = await until(client, lambda: next((b for b in blocks(client) if b.boot == other), None))
            assert (last.seq, last.missing) == ([], [(0, 3)])
            found = {n for b in blocks(client) if b.boot == publisher.boot for n in b.seq}
            assert found == ({0} if any(a == 0 for a, _ in ranges) else set())
            assert publisher._bus.counters["backfill_failed"] == 0


@pytest.mark.parametrize("stream", ["telemetry", "alarm.cell_spread", "telemetry.", "telemetry.+", "a.b", "."])
async def test_a_question_about_what_is_no_stream_is_refused(settings: BusSettings, stream: str) -> None:
    publisher = Publisher(Bus(settings, service="sensor"), settings, "sensor")
    ask = Fetch(correlation_id="1", action="backfill", stream=stream, boot=new_boot(), ranges=[(0, 1)])
    with pytest.raises(PayloadError, match="stream '"):
        await publisher.handle(COMMAND, ask)
    with pytest.raises(PayloadError, match="reversed"):
        await publisher.handle(COMMAND, fetch("confirm", new_boot(), (3, 1)))


async def test_confirmed_messages_are_known_and_told(settings: BusSettings) -> None:
    told = asyncio.Event()
    async with publishing(settings) as publisher:
        publisher.on_confirm = told.set
        for _ in range(3):
            await publisher.publish(STREAM, fields())
        await publisher.handle(COMMAND, fetch("confirm", publisher.boot, (0, 1)))
        assert told.is_set()
        key = (str(STREAM), publisher.boot)
        assert list(publisher.confirmed[key]) == [(0, 1)]
        assert list((await publisher.outbox.index())[key].confirmed) == [(0, 1)]


async def test_announcements_say_what_is_held_and_how_each_start_ended(broker: Broker, settings: BusSettings) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM.of_stream("journal")))

        async def said(boot: str, **expected: Any) -> None:
            def found() -> bool:
                last = next((r for j in reversed(journals(client)) for r in j.ranges if r.boot == boot), None)
                return last is not None and all(getattr(last, k) == v for k, v in expected.items())

            await until(client, found)

        async with publishing(settings) as publisher:
            clean = publisher.boot
            await publisher.publish(STREAM, fields())
            await said(clean, first=0, last=0, closed=False, timed=True, tail_unknown=False)
        await said(clean, closed=True, tail_unknown=False)
        async with publishing(settings) as publisher:
            killed = publisher.boot
            await publisher.publish(STREAM, fields())
            publisher._open.clear()  # nobody closes it: as after kill -9
        async with publishing(settings):
            await said(killed, last=0, closed=True, tail_unknown=True)
            assert [r.boot for r in journals(client)[-1].ranges] == [clean, killed]  # in the order of their starts


async def test_an_announcement_of_many_starts_and_losses_is_cut_into_pages_that_fit(
    broker: Broker, settings: BusSettings
) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM.of_stream("journal")))
        async with publishing(settings) as publisher:
            boots = [f"{n:016x}" for n in range(400)]
            for boot in boots:
                for seq in (2**39, 2**39 + 2):
                    publisher.outbox.append(Entry(str(STREAM), boot, seq, time.time(), 1.7e9, b"{}"))
            entries = [Entry(str(STREAM), boot, 2**39 + 1, 0.0, 1.7e9, b"{}") for boot in boots]
            await publisher.outbox.on_journal(lambda held: held.bury(entries))
            await publisher.announce()

            def pages() -> list[Journal] | None:
                found = journals(client)  # of the one at the connection, too, which may come between
                last = found[-found[-1].pages :] if found else []
                whole = [j.page for j in last] == list(range(1, len(last) + 1))
                told = {r.boot for j in last for r in j.ranges}, {x.boot for j in last for x in j.lost}
                return found if whole and [len(boots) for boots in told] == [400, 400] else None

            found = await until(client, pages)
            last = found[-found[-1].pages :]
            assert [j.page for j in last] == list(range(1, len(last) + 1))
            assert last[-1].ranges[-1].boot == boots[-1]  # the newest start is on the page that the broker retains
            count = len(journals(client))
            await publisher.announce()
            await publisher.announce(again=True)  # who came late has seen the last page only
            await until(client, lambda: len(journals(client)) >= count + len(last))


async def test_untimed_messages_are_dated_once_and_only_those(broker: Broker, settings: BusSettings) -> None:
    with broker.client() as client:
        client.subscribe(str(STREAM.of_stream("backfill")), str(STREAM.of_stream("journal")))
        async with publishing(settings) as publisher:
            for n in range(1200):
                untimed = fields(float(n), ts="1970-01-01T00:00:00.000Z", time_source="none")
                timed = fields(float(n), ts="2026-11-21T08:20:00.000Z", time_source="ntp")
                await publisher.publish(STREAM, untimed if n < 1199 else timed, timed=n == 1199)
            await until(client, lambda: any(not r.timed for j in journals(client) for r in j.ranges))
            base = 1_795_248_000.0
            assert await publisher.date(STREAM, publisher.boot, base, "ntp") == 1199
            assert await publisher.date(STREAM, publisher.boot, base + 99, "ntp") == 0
            assert await publisher.date(STREAM, new_boot(), base, "ntp") == 0
            await until(client, lambda: any(r.timed for r in journals(client)[-1].ranges))
            await publisher.handle(COMMAND, fetch("backfill", publisher.boot, (0, 1199)))
            samples, _ = await answered(client, 1200)
            assert [s.ts.timestamp() for s in samples[:-1]] == [base + n for n in range(1199)]
            assert {s.time_source for s in samples} == {"ntp"}
            assert format_time(samples[-1].ts) == "2026-11-21T08:20:00.000Z"


async def test_without_waiting_a_message_is_only_kept_when_the_broker_takes_no_more(
    broker: Broker, settings: BusSettings
) -> None:
    async with publishing(settings, hand_over_first=False) as publisher:
        broker.kill()
        while publisher._bus.connected:  # noqa: ASYNC110 - it has an event for being connected only
            await asyncio.sleep(0.01)
        await publisher.publish(STREAM, fields(), wait=False)
        assert publisher._bus.counters["deferred"] == 1
        held = await publisher.outbox.read(str(STREAM), publisher.boot, [(0, 9)], 10)
        assert [seq for seq, _ in held] == [0]


async def test_an_alarm_goes_out_though_the_disk_does_not_answer(
    broker: Broker, settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DURABLE_WAIT_S", 0.05)
    with broker.client() as client:
        client.subscribe(str(EVENTS))
        async with publishing(settings) as publisher:
            stuck = asyncio.get_running_loop().run_in_executor(publisher.outbox._thread, time.sleep, 1.0)
            begin = time.monotonic()
            await publisher.publish(EVENTS, fields(), durable=True)
            assert time.monotonic() - begin < 0.8
            await asyncio.to_thread(client.wait_count, 1)
            assert publisher._bus.counters["durable_timeout"] == 1
            await stuck


async def test_ending_with_a_broker_that_is_stuck_takes_seconds(
    broker: Broker, settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOODBYE_S", 0.2)
    async with Bus(settings, service="sensor") as bus:
        async with asyncio.timeout(10), Publisher(bus, settings, "sensor") as publisher:
            await bus.wait_connected()
            await publisher.publish(STREAM, fields())
            bus._room.clear()  # as when nothing is acknowledged any more
        bus._room.set()
