"""Bad readings, garbage on the brokers, a full disk, a broken bundle, a cloned node, a lost journal: each is named and
counted, and nothing else stops."""

import asyncio
import json
import resource
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.bus.messages import MAX_PAYLOAD, format_time
from services.bus.settings import ROOT
from services.up import plan
from services.up.summary import complete
from services.up.system import System
from tests.mqtt import Client
from tests.system.harness import Deed, play, until

START = datetime(2020, 3, 1, tzinfo=UTC)
ROWS = 900
JUMP = 880
PACK = "emberwatch/v1/pi/pack-1"
HEADER = "tboxTime,BMSBatteryVoltage,BMSBatteryCurrent,vehBMSPackSOC,BMSProbeTempMax,V_1,V_2,V_3,T_1,T_2"
Row = list[str]


def rows() -> list[Row]:
    """15 minutes of a car at rest, with everything in it that a recording should not have."""
    seconds = list(range(ROWS))
    seconds[105] = 104  # one time twice
    for i in range(200, ROWS):
        seconds[i] += 3600  # an hour's gap
    seconds[300] -= 30  # the clock goes back
    found = [
        [format_time(START + timedelta(seconds=s)), "11.1", "0", "55", "31", "3.70", "3.71", "3.69", "31", "30"]
        for s in seconds
    ]
    found[100][1] = "NaN"
    found[101][1] = "0"  # the map says: no reading
    found[102][1] = "99999"
    found[103][5:8] = ["66.5"] * 3
    found[104][9] = "inf"
    found[110][2] = ""
    found[JUMP][8] = "111"  # 80 K in one second
    for row in found[JUMP + 1 :]:
        row[8] = "NaN"  # and the probe is dead
    return found


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join([HEADER, *map(",".join, rows())]) + "\n")
    return path


def sample(seq: int = 0, **changes: Any) -> bytes:
    fields = {"boot": "0" * 16, "seq": seq, "ts": "2020-03-01T00:00:00.000Z", "mono": 0.0, "layout": "0" * 8}
    return json.dumps(fields | {"channels": {"voltage": 11.0}} | changes).encode()


def node_user(system: System) -> tuple[str, str]:
    """The node's name and password at the cloud broker."""
    return "pi", plan.read_or_draw(system.settings.data / "passwords", "pi")["pi"]


async def garbage(system: System) -> None:
    """On the local broker as anybody can, and on the cloud's as the node itself."""
    for port, user in ((system.ports["local"], None), (system.ports["cloud"], node_user(system))):
        await asyncio.to_thread(publish_garbage, port, user)


def publish_garbage(port: int, user: tuple[str, str] | None) -> None:
    where = "l" if user is None else "c"
    with Client(port, user) as client:
        layout = [] if user else read_layout(client)
        for kind in ("telemetry/battery", "score/dyad-int8", "event/cell_spread", "layout/battery", "status/sensor"):
            for payload in (b"", b"{", b"[]", b"\xff\x00", b'{"boot": 1}', b"null", b'{"seq": "x"}', b"[" * 5000):
                client.publish(f"{PACK}/{kind}", payload)
        for service in ("sensor", "inference", "alert"):
            client.publish(f"{PACK}/command/{service}", b'{"correlation_id": "x", "action": "dance"}')
        client.publish(f"{PACK}/journal/telemetry.battery", b'{"ranges": 5}')
        client.publish(f"{PACK}/backfill/telemetry.battery", b'{"boot": "00", "seq": [-1]}')
        client.publish(f"{PACK}/telemetry/battery", sample(mono=float("nan")))
        client.publish(f"{PACK}/telemetry/battery", sample(channels={"voltage": float("inf")}))
        client.publish(f"{PACK}/telemetry/battery", sample(channels={"voltage": "11"}))
        client.publish(f"{PACK}/telemetry/battery", b'"' + b"x" * (MAX_PAYLOAD + 30_000) + b'"')
        client.publish(f"emberwatch/v1/pi/ghost-{where}0/telemetry/unicorn", sample())
        for i, hash_ in enumerate(layout):
            client.publish(
                f"emberwatch/v1/pi/ghost-{i}a/telemetry/battery", sample(layout=hash_, ts="1970-01-01T00:00:09Z")
            )
            client.publish(
                f"emberwatch/v1/pi/ghost-{i}b/telemetry/battery", sample(layout=hash_, ts="2106-02-07T06:28:15Z")
            )
            wrong = {"voltage": 11.0, "cell_voltages": [3.7, 3.7]}
            client.publish(f"emberwatch/v1/pi/ghost-{i}c/telemetry/battery", sample(layout=hash_, channels=wrong))
    refused_as_too_large(port, user)


def read_layout(client: Client) -> list[str]:
    """The device's layout; and what it said already is said again, backwards."""
    client.subscribe(f"{PACK}/layout/battery", f"{PACK}/telemetry/battery")
    layout = client.wait_for(f"{PACK}/layout/battery")
    client.wait_count(30)
    said = [bytes(m.payload) for m in client.messages if m.topic.endswith("telemetry/battery")][:25]
    for payload in (*said, *reversed(said)):
        client.publish(f"{PACK}/telemetry/battery", payload)
    return [json.loads(layout.payload)["hash"]]


def refused_as_too_large(port: int, user: tuple[str, str] | None) -> None:
    """10 MB: the broker ends the connection of whoever sends it."""
    with Client(port, user) as client:
        ended: list[object] = []
        client._paho.on_disconnect = lambda *told: client._note(lambda: ended.append(told))
        client._paho.publish(f"{PACK}/telemetry/battery", b"x" * 10_000_000, qos=1)
        client._wait(lambda: ended != [], 20, "the broker's refusal")


async def cloned_node(system: System) -> None:
    """A second installation says something under the node's name, between two heartbeats of the first."""

    def speak() -> None:
        fields = {"state": "online", "session": "clone", "installation": "c" * 16, "ts": format_time(datetime.now(UTC))}
        with Client(system.ports["cloud"], node_user(system)) as client:
            client.publish("emberwatch/v1/pi/node/status/console", json.dumps(fields))

    await asyncio.to_thread(speak)
    async with asyncio.timeout(30):
        while not (await alarms(system, "cloud", "two_installations")):  # noqa: ASYNC110 (REST tells nobody)
            await asyncio.sleep(0.2)


async def alarms(system: System, node: str, rule: str) -> list[dict[str, Any]]:
    items = (await system.http.get("/api/v1/alarms", params={"node": node})).raise_for_status().json()
    return [a for a in (items["items"] if isinstance(items, dict) else items) if a["rule"] == rule]


def full_disk(service: str, full: bool) -> Deed:
    """No file of the service may grow, as on a full disk; and back. Waits until its status says so."""

    async def deed(system: System) -> None:
        pid = system.children[service].pid
        assert pid is not None
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100 if full else hard, hard))
        await until(lambda: system.statuses[service].counters.get("journal_failing", 0) == float(full))

    return deed


def shelf(folder: Path) -> Path:
    """The shipped bundle, and one whose model is cut off."""
    source = ROOT / "bundles" / "dyad-int8"
    shutil.copytree(source, folder / "good")
    shutil.copytree(source, folder / "broken")
    manifest = json.loads((source / "manifest.json").read_text())
    (folder / "broken" / "manifest.json").write_text(json.dumps(manifest | {"name": "broken"}))
    cut(folder / "broken" / "model.onnx")
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def break_the_bundle(folder: Path) -> Deed:
    async def deed(system: System) -> None:
        assert system.statuses["inference"].counters["bundles"] == 1
        cut(folder / "good" / "model.onnx")
        await until(lambda: system.statuses["inference"].counters["bundles_refused"] >= 2)
        assert system.statuses["inference"].counters["bundles"] == 1  # the one that worked goes on

    return deed


async def look(system: System) -> None:
    await stored_with_quality(system)
    (hot,) = await alarms(system, "pi", "over_temperature")
    assert (hot["device"], hot["alarm"]["state"]) == ("pack-1", "unacknowledged_active"), hot
    counters = {name: status.counters for name, status in system.statuses.items()}
    for service in ("sensor", "inference", "alert"):
        assert counters[service]["rejected"] > 0, service
        assert system.children[service].restarts == 0
    assert counters["sensor"]["journal_failed"] > 0
    ingest = (await system.http.get("/healthz")).json()
    assert ingest["counters"]["rejected"] > 0
    items = (await system.http.get("/api/v1/quarantine", params={"limit": 1000})).json()
    reasons = "\n".join(sorted({f"{item['topic']}: {item['reason']}" for item in items}))
    for expected in (
        "telemetry/battery: payload: Invalid JSON",
        "telemetry/battery: boot: Input should be a valid string",
        f"telemetry/battery: payload of {MAX_PAYLOAD + 30_002} bytes, limit {MAX_PAYLOAD}",
        "channels.voltage",
        "ghost-l0/telemetry/unicorn: layout 00000000 of profile unicorn is unknown",
        "ghost-c0/telemetry/unicorn: layout 00000000 of profile unicorn is unknown",
        "ghost-0a/telemetry/battery: ts: 1970-01-01T00:00:09+00:00 is not between 2000 and 2100",
        "ghost-0b/telemetry/battery: ts: 2106-02-07T06:28:15+00:00 is not between 2000 and 2100",
        "ghost-0c/telemetry/battery: cell_voltages: 2, the layout says a list of 3",
        "score/dyad-int8: payload: Invalid JSON",
        "layout/battery: payload: Invalid JSON",
        "journal/telemetry.battery: ranges",
    ):
        assert expected in reasons, reasons


async def stored_with_quality(system: System) -> None:
    """Every row is there with its values, its time and what it is worth."""
    path = f"/api/v1/devices/{system.node}/pack-1/samples"
    page = (await system.http.get(path, params={"resolution": "raw", "limit": 2000})).raise_for_status().json()
    order = sorted(range(len(page["seq"])), key=page["seq"].__getitem__)
    assert [page["seq"][i] for i in order] == list(range(ROWS))
    assert [page["ts"][i] for i in order] == [row[0] for row in rows()]
    quality = {page["seq"][int(i)]: marks for i, marks in page["quality"].items()}
    assert quality.pop(100) == {"voltage": "fault:nan"}
    assert quality.pop(101) == {"voltage": "fault:missing"}
    assert quality.pop(102) == {"voltage": "range"}
    assert quality.pop(103)["cell_voltages"] == "range"
    assert quality.pop(104) == {"temperatures[1]": "fault:nan"}
    assert quality.pop(110) == {"current": "fault:nan"}
    assert quality.pop(JUMP) == {"temperatures[0]": "suspect", "temperature_max": "suspect"}
    assert quality.pop(JUMP + 1) == {"temperatures[0]": "fault:nan", "temperature_max": "fault:missing"}
    assert set(quality) == set(range(JUMP + 2, ROWS))
    assert all(marks == {"temperatures[0]": "fault:nan"} for marks in quality.values())
    voltage = [page["channels"]["voltage"][i] for i in order]
    assert voltage[100:102] == [None, None]
    assert voltage[102] == pytest.approx(99999)
    assert voltage[103] == pytest.approx(11.1)


async def test_nothing_of_all_this_stops_anything(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = shelf(tmp_path / "bundles")
    monkeypatch.setenv("EMBERWATCH_BUNDLES", json.dumps([str(bundles)]))
    monkeypatch.setenv("EMBERWATCH_JOURNAL_GROUP_S", "1")
    deeds = [
        (0.05, garbage),
        (0.2, full_disk("sensor", True)),
        (0.3, break_the_bundle(bundles)),
        (0.4, cloned_node),
        (0.5, full_disk("sensor", False)),
    ]
    data = tmp_path / "data"
    summary = await play(data, recording, "50", deeds, look=look)
    assert complete(summary), summary
    # the jump: from the first reading on the display to the history, although the probe died with it
    own = {(a["rule"], a["channel"]): a for a in summary["alarms"]}
    assert own["over_temperature", "temperature_max"]["ts"] == rows()[JUMP][0]
    assert own["over_temperature", "temperature_max"]["severity"] == "critical"
    assert own["sensor_fault", "temperatures[0]"]["state"] == "unacknowledged_active"
    assert "bundle refused: " in (data / "logs" / "inference.log").read_text()

    journal = data / "edge" / "sensor" / "journal.sqlite3"
    journal.write_bytes(b"\xa5" * 4096)

    async def moved_aside(system: System) -> None:
        assert system.statuses["sensor"].counters["journal_corrupt"] == 1

    again = await play(data, recording, "max", look=moved_aside)
    assert complete(again), again
    assert [a["ts"] for a in again["alarms"] if a["rule"] == "over_temperature"] == [rows()[JUMP][0]]
    assert "moved aside to journal.corrupt-" in (data / "logs" / "sensor.log").read_text()
