"""The REST interface, through ASGI, over a real database (and a real broker where a node must answer)."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import hypothesis
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st

from services.bus.errors import ConfigError
from services.bus.messages import Acknowledge, format_time, read
from services.bus.topics import Topic
from services.ingest.app import create_app
from services.ingest.receipts import compact
from services.ingest.rollups import work_off
from services.ingest.rows import Entry, StoredLayout, StreamKey, row
from services.ingest.settings import IngestSettings
from services.ingest.views import refresh_view
from services.ingest.writer import Writer
from tests.fixtures_mosquitto import Broker
from tests.fixtures_postgres import free_port
from tests.ingest.conftest import BOOT, START, TOPIC, payload, sample, until

DEVICE = "/api/v1/devices/pi/pack-1"


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


def settings(url: str, folder: Path, port: int, **more: Any) -> IngestSettings:
    quick: dict[str, Any] = {"heartbeat_s": 1.0, "command_timeout_s": 3.0, "rollup_s": 0.2}
    return IngestSettings.load(database_url=url, data_dir=folder, broker_port=port, **quick | more)


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The interface without a broker."""
    async with client_of(create_app(settings(postgres_url, tmp_path, free_port()))) as client:
        yield client


async def store(writer: Writer, fields: list[dict[str, Any]], layout: StoredLayout | None, topic: Topic) -> None:
    entries = []
    for content in fields:
        message: Any = read(topic, payload(content))
        rows = list(row(message, layout))
        entries.append(Entry(str(topic), b"-", None, StreamKey.of(topic, message.boot), rows, [message.seq]))
    await writer.write(entries)


async def test_raw_samples_come_as_columns_in_shortest_text(
    api: httpx.AsyncClient, writer: Writer, layout: StoredLayout, connection: Any
) -> None:
    fields = [sample(seq) for seq in range(5)]
    fields[3]["quality"] = {"voltage": "suspect"}
    await store(writer, fields, layout, TOPIC)
    response = await api.get(f"{DEVICE}/samples", params={"resolution": "raw", "channels": "voltage,cell_voltages"})
    assert response.status_code == 200
    assert '"voltage":[355.2,356.2,357.2,358.2,359.2]' in response.text
    page = response.json()
    assert page["ts"][0] == format_time(START)
    assert (page["boot"], page["seq"]) == ([BOOT] * 5, [0, 1, 2, 3, 4])
    assert page["channels"]["cell_voltages"] == [[3.701, 3.712, None]] * 5
    assert page["quality"] == {"3": {"voltage": "suspect"}}
    assert (page["resolution_s"], page["next"]) == (0, None)


async def test_pages_follow_one_another_without_a_gap_over_two_process_starts_with_equal_times(
    api: httpx.AsyncClient, writer: Writer, layout: StoredLayout
) -> None:
    other = "00000000000000b2"
    await store(writer, [sample(seq) for seq in range(30)], layout, TOPIC)
    await store(writer, [sample(seq, boot=other) for seq in range(10, 50)], layout, TOPIC)
    seen: list[tuple[str, str, int]] = []
    after = None
    while True:
        query = {"resolution": "raw", "channels": "voltage", "limit": "7"} | ({"after": after} if after else {})
        page = (await api.get(f"{DEVICE}/samples", params=query)).json()
        seen += zip(page["ts"], page["boot"], page["seq"], strict=True)
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 70
    assert [ts for ts, _, _ in seen] == sorted(ts for ts, _, _ in seen)


async def test_seventy_thousand_rows_come_in_pages(
    api: httpx.AsyncClient, connection: Any, writer: Writer, layout: StoredLayout
) -> None:
    await store(writer, [sample(0)], layout, TOPIC)
    await store(writer, [sample(70_000)], layout, TOPIC)
    await connection.execute(
        "INSERT INTO sample SELECT stream, layout, ts + i * interval '1 millisecond', i, channels, quality"
        " FROM sample, generate_series(1, 69999) i WHERE seq = 0"
    )
    seen, after = 0, None
    while True:
        query = {"resolution": "raw", "channels": "voltage"} | ({"after": after} if after else {})
        page = (await api.get(f"{DEVICE}/samples", params=query)).json()
        seen += len(page["ts"])
        after = page["next"]
        if after is None:
            break
    assert seen == 70_001


async def test_rollups_are_right_after_a_late_backfill(
    api: httpx.AsyncClient, writer: Writer, layout: StoredLayout, connection: Any
) -> None:
    values = {seq: float(seq * 7 % 100) for seq in range(180)}
    fields = [sample(seq, channels={"voltage": values[seq], "current": None}) for seq in values]

    async def worked_off() -> bool:  # by us, or by the running service
        await work_off(connection)
        return bool(await connection.fetchval("SELECT NOT EXISTS (SELECT FROM rollup_mark)"))

    await store(writer, fields[::2], layout, TOPIC)
    await until(worked_off)
    await store(writer, fields[1::2], layout, TOPIC)
    await until(worked_off)
    await compact(connection)
    minutes = [[values[seq] for seq in range(first, first + 60)] for first in range(0, 180, 60)]
    for resolution, groups in (("60", minutes), ("3600", [minutes[0], minutes[1] + minutes[2]])):
        query = {"resolution": resolution, "channels": "voltage,current,cell_voltages"}
        page = (await api.get(f"{DEVICE}/samples", params=query)).json()
        voltage = page["channels"]["voltage"]
        assert voltage["min"] == [min(group) for group in groups]
        assert voltage["max"] == [max(group) for group in groups]
        assert voltage["mean"] == pytest.approx([sum(group) / len(group) for group in groups], rel=1e-6)
        assert page["channels"]["current"]["mean"] == [None] * len(groups)
        assert page["channels"]["cell_voltages"]["max"] == [[None] * 3] * len(groups)
    automatic = (await api.get(f"{DEVICE}/samples", params={"channels": "voltage"})).json()
    assert automatic["resolution_s"] == 0


async def test_the_profile_view_has_named_columns(
    writer: Writer, pool: Any, layout: StoredLayout, connection: Any
) -> None:
    await store(writer, [sample(0)], layout, TOPIC)
    await refresh_view(pool, "battery")
    found = await connection.fetchrow("SELECT node, device, boot, seq, voltage, cell_voltages FROM battery_sample")
    assert (found["node"], found["device"], found["boot"], found["seq"]) == ("pi", "pack-1", BOOT, 0)
    assert found["voltage"] == pytest.approx(355.2, rel=1e-6)
    assert [None if v is None else round(v, 3) for v in found["cell_voltages"]] == [3.701, 3.712, None]


async def test_scores_and_history_are_listed(api: httpx.AsyncClient, writer: Writer) -> None:
    common = {"boot": BOOT, "mono": 1.0}
    scores = [
        {
            **common,
            **{"seq": seq, "ts": format_time(START + timedelta(seconds=seq)), "bundle": "dyad@1", "score": 0.5},
            **{"threshold": 1.0, "window": {"boot": BOOT, "first": 0, "last": 127}},
        }
        for seq in range(3)
    ]
    await store(writer, scores, None, Topic("pi", "pack-1", "score", "dyad-int8"))
    page = (await api.get(f"{DEVICE}/scores", params={"model": "dyad-int8", "limit": "2"})).json()
    assert [item["seq"] for item in page["items"]] == [0, 1]
    rest = (await api.get(f"{DEVICE}/scores", params={"limit": "2", "after": page["next"]})).json()
    assert [(item["seq"], item["model"], item["window"]["last"]) for item in rest["items"]] == [(2, "dyad-int8", 127)]
    event = {
        **common,
        **{"seq": 0, "ts": format_time(START), "type": "raised", "revision": 1, "occurrence": "01JC", "by": None},
        "alarm": {"state": "unacknowledged_active", "active": True, "severity": "high"},
    }
    await store(writer, [event], None, Topic("pi", "pack-1", "event", "cell_spread"))
    history = (await api.get("/api/v1/alarms/history", params={"device": "pack-1"})).json()
    assert [(e["rule"], e["type"], e["alarm"]["severity"]) for e in history["items"]] == [
        ("cell_spread", "raised", "high")
    ]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{DEVICE}/samples?channels=volts", 404, "no device pack-1 of node pi"),
        (f"{DEVICE}/samples?from=yesterday", 422, "from"),
        (f"{DEVICE}/samples?from=2020-01-01T00:00:00Z&to=2019-01-01T00:00:00Z", 422, "is not after"),
        (f"{DEVICE}/samples?profile=%00", 422, "a zero byte"),
        (f"{DEVICE}/samples?resolution=5", 422, "resolution"),
        (f"{DEVICE}/samples?limit=0", 422, "limit"),
        ("/api/v1/devices/pi/a%20b/samples", 422, "use 1 to 64"),
        ("/api/v1/devices/pi/pack-9/scores", 404, "no device pack-9"),
        ("/api/v1/alarms/history?after=xyz", 422, "is not a cursor"),
        ("/healthz", 503, '"broker":false'),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(api: httpx.AsyncClient, path: str, status: int, said: str) -> None:
    response = await api.get(path)
    assert response.status_code == status
    assert said in response.text


COMMAND = "/api/v1/alarms/pi/pack-1/cell_spread/acknowledge"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
async def test_a_page_of_a_foreign_name_cannot_give_commands(api: httpx.AsyncClient, host: str) -> None:
    response = await api.post(COMMAND, json={"by": "mallory"}, headers={"Host": host})
    assert (response.status_code, response.text) == (400, "Invalid host header")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "ingest:8000", "LOCALHOST"])
async def test_it_answers_under_its_own_names(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get("/api/v1/nodes", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("more", "host"),
    [
        ({"http_host": "192.168.1.5"}, "192.168.1.5:8000"),
        ({"http_host": "fd00::5"}, "[fd00::5]:8000"),
        ({"allowed_hosts": ["*"]}, "anything.example"),
        ({"allowed_hosts": ["*.example.org"]}, "emberwatch.example.org"),
    ],
)
async def test_further_hosts_are_allowed_by_setting(
    postgres_url: str, tmp_path: Path, more: dict[str, Any], host: str
) -> None:
    async with client_of(create_app(settings(postgres_url, tmp_path, free_port(), **more))) as api:
        assert (await api.get("/api/v1/nodes", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["example.org:8000", "http://example.org", "a*.example.org", ""])
def test_a_wrong_allowed_host_is_named(host: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        IngestSettings.load(allowed_hosts=[host])


TEXT = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", "0", "-1", "1", "1e3", "9" * 30, "\0", "true", "null", "raw", "voltage", "voltage,,", "..", "*"]
    ),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "2016-02-30T00:00:00Z", "1e300"]),
    st.tuples(
        st.integers(-(10**19), 10**19)
        | st.sampled_from([-62135596800 * 10**6, 253402300799 * 10**6, 1459468740 * 10**6]),
        st.integers(-5, 2**54) | st.just(0),
        st.integers(-5, 2**32) | st.just(1),
    ).map(lambda cursor: base64.urlsafe_b64encode(" ".join(map(str, cursor)).encode()).decode().rstrip("=")),
)
GIVEN = [
    "after",
    "from",
    "to",
    "channels",
    "limit",
    "resolution",
    "profile",
    "model",
    "node",
    "device",
    "rule",
    "active",
]
PATHS = [
    *(f"{DEVICE}/{kind}" for kind in ("samples", "scores", "estimates")),
    *("/api/v1/alarms", "/api/v1/alarms/history", "/api/v1/streams", "/api/v1/quarantine", "/api/v1/devices"),
]


async def test_whatever_is_asked_is_answered_or_refused(
    api: httpx.AsyncClient, writer: Writer, layout: StoredLayout, connection: Any
) -> None:
    await store(writer, [sample(seq) for seq in range(3)], layout, TOPIC)
    while await work_off(connection):
        pass
    loop = asyncio.get_running_loop()

    @hypothesis.settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @example(f"{DEVICE}/samples", {"from": "9999-12-31T01:00-2300"})
    @example(f"{DEVICE}/samples", {"to": "0001-01-01T00:00:00+01:00"})
    @example(f"{DEVICE}/samples", {"from": "0001-01-01T00:00:00Z", "resolution": "3600"})
    @example(f"{DEVICE}/samples", {"profile": "\0"})
    @example(f"{DEVICE}/scores", {"model": "\0"})
    @example("/api/v1/alarms", {"node": "\0"})
    @example("/api/v1/alarms/history", {"rule": "\0"})
    @example("/api/v1/streams", {"device": "\0"})
    @given(path=st.sampled_from(PATHS), query=st.dictionaries(st.sampled_from(GIVEN), TEXT, max_size=4))
    def ask(path: str, query: dict[str, str]) -> None:
        given_as_bytes = urlencode({k: v.encode("utf-8", "surrogatepass") for k, v in query.items()})
        asking = api.get(f"{path}?{given_as_bytes}")
        response = asyncio.run_coroutine_threadsafe(asking, loop).result(20)
        assert response.status_code < 500, response.text

    await asyncio.to_thread(ask)


async def test_an_unknown_channel_is_named(api: httpx.AsyncClient, writer: Writer, layout: StoredLayout) -> None:
    await store(writer, [sample(0)], layout, TOPIC)
    response = await api.get(f"{DEVICE}/samples", params={"channels": "voltage,volts"})
    assert response.status_code == 422
    assert "'volts' is not one of battery: voltage, current, cell_voltages" in response.text


async def test_the_description_has_examples_for_each_route(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert {"/healthz", "/api/v1/nodes", "/api/v1/streams", "/api/v1/quarantine"} <= document["paths"].keys()
    assert "4711" in json.dumps(document["components"]["schemas"])


async def test_acknowledge_brings_the_nodes_answer_and_504_without_one(
    postgres_url: str, tmp_path: Path, broker: Broker
) -> None:
    alarm = Topic("pi", "pack-1", "alarm", "cell_spread")
    state = {"boot": BOOT, "revision": 3, "state": "unacknowledged_active", "active": True, "severity": "high"}
    seen = {"by": "anna@test", "revision": 3}
    url = "/api/v1/alarms/pi/pack-1/cell_spread/acknowledge"
    async with client_of(create_app(settings(postgres_url, tmp_path, broker.port))) as api:
        with broker.client() as node:

            async def shown() -> bool:
                return len((await api.get("/api/v1/alarms", params={"active": "true"})).json()) == 1

            await asyncio.to_thread(node.subscribe, "emberwatch/v1/pi/+/command/alert")
            await asyncio.to_thread(node.publish, str(alarm), payload(state), retain=True)
            await until(shown)
            asking = asyncio.create_task(api.post(url, json=seen))
            topic = Topic("pi", "pack-1", "command", "alert")
            order = read(topic, bytes((await asyncio.to_thread(node.wait_for, str(topic))).payload))
            assert isinstance(order, Acknowledge)
            assert (order.by, order.revision, order.rule) == ("anna@test", 3, "cell_spread")
            reply = {"correlation_id": order.correlation_id, "status": "refused", "reason": "severity has risen"}
            await asyncio.to_thread(node.publish, "emberwatch/v1/pi/pack-1/reply/alert", payload(reply))
            answer = await asking
            assert (answer.status_code, answer.json()["reason"]) == (200, "severity has risen")
        silent = await api.post(url, json=seen)
        assert silent.status_code == 504
        assert "alert of node pi did not answer" in silent.text
        assert (await api.post(url.replace("acknowledge", "shelve"), json=seen)).status_code == 422
