"""The service as a process on a real broker: rows out once, killed and started again, asked for what was missed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.bus.messages import Fetch, Layout, Sample, Status, read_as, write
from services.bus.settings import ROOT
from services.bus.topics import Topic
from services.sensor.recorded import Recording
from tests.fixtures_mosquitto import Broker
from tests.mqtt import Client
from tests.nobody import NOBODY, let_in

TELEMETRY = "emberwatch/v1/pi/pack-1/telemetry/battery"
STATUS = "emberwatch/v1/pi/node/status/sensor"
COMMAND = "emberwatch/v1/pi/pack-1/command/sensor"
BACKFILL = "emberwatch/v1/pi/pack-1/backfill/telemetry.battery"
LAYOUT = "emberwatch/v1/pi/pack-1/layout/battery"
JOURNAL = "emberwatch/v1/pi/pack-1/journal/telemetry.battery"
ROWS = 1500


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.csv"
    lines = [f"{1767225600 + i},{300 + i * 0.01:.2f},{'' if i % 100 == 7 else 30 + i % 3}\n" for i in range(ROWS)]
    path.write_text("ts,voltage,temperature_max\n" + "".join(lines))
    return path


@contextmanager
def sensor(
    broker: Broker, recording: Path, speed: str, folder: str = "s", *, prefix: Sequence[str] = (), repeat: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    own = {
        "NODE": "pi",
        "BROKER_PORT": str(broker.port),
        "DATA_DIR": str(recording.parent / folder),
        "HEARTBEAT_S": "0.5",
        "REPLAY": str(recording),
        "SPEED": speed,
        "REPEAT": str(repeat),
    }
    environment = os.environ | {f"EMBERWATCH_{name}": value for name, value in own.items()}
    with (recording.parent / "sensor.log").open("ab") as log:
        command = [*prefix, sys.executable, "-m", "services.sensor"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def content(client: Client, topic: str) -> list[Any]:
    return [json.loads(m.payload) for m in client.messages if m.topic == topic]


def wait(client: Client, topic: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Wait until what came on a topic is enough; returns it."""
    parsed: list[Any] = []
    seen = 0

    def check() -> bool:
        nonlocal seen
        new, seen = client._messages[seen:], len(client._messages)
        parsed.extend(json.loads(m.payload) for m in new if m.topic == topic)
        return enough(parsed)

    client._wait(check, 30.0, topic)
    return parsed


def finished(statuses: list[Any]) -> bool:
    return bool(statuses) and bool((statuses[-1].get("replay") or {}).get("finished"))


def expected(recording: Path) -> list[tuple[int, Any, Any]]:
    rows = [row for chunk in Recording(recording).chunks() for row in chunk.rows]
    return [(seq, channels, quality) for seq, (channels, quality) in enumerate(rows)]


def told(sample: dict[str, Any]) -> tuple[int, Any, Any]:
    return sample["seq"], sample["channels"], sample.get("quality", {})


def test_every_row_comes_once_in_order_as_recorded_and_asks_are_answered(broker: Broker, recording: Path) -> None:
    with broker.client() as client, sensor(broker, recording, "max") as process:
        client.subscribe("emberwatch/v1/pi/#")
        statuses = wait(client, STATUS, finished)
        samples = wait(client, TELEMETRY, lambda s: len(s) >= ROWS)
        assert [told(s) for s in samples] == expected(recording)
        assert {s["boot"] for s in samples} == {Recording(recording).identity("pi", "pack-1")}
        assert (samples[0]["ts"], samples[-1]["ts"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:24:59.000Z")
        for m in client.messages:
            if m.topic == TELEMETRY:
                read_as(Topic.parse(TELEMETRY), bytes(m.payload), Sample)
        status = read_as(Topic.parse(STATUS), json.dumps(statuses[-1]).encode(), Status)
        assert status.replay is not None
        assert (status.replay.file, status.replay.rows, status.replay.published) == ("rec.csv", ROWS, ROWS)
        assert (status.counters["published"], status.counters["marked"]) == (ROWS, ROWS // 100)
        assert status.positions["pi/pack-1/telemetry.battery"].seq == ROWS - 1
        boot = samples[0]["boot"]
        (held,) = wait(client, JOURNAL, lambda pages: pages[-1:] != [] and pages[-1]["ranges"] != [])[-1]["ranges"]
        assert (held["boot"], held["first"], held["last"], held["closed"]) == (boot, 0, ROWS - 1, True)

        ask = {"stream": "telemetry.battery", "device": "pack-1", "boot": boot, "ranges": [(5, 9), (1490, 1600)]}
        client.publish(COMMAND, write(Fetch.model_validate({"correlation_id": "a", "action": "backfill", **ask})))
        blocks = wait(client, BACKFILL, lambda b: b != [] and b[-1].get("missing") is not None)
        assert [seq for block in blocks for seq in block["seq"]] == [5, 6, 7, 8, 9, *range(1490, ROWS)]
        assert blocks[-1]["missing"] == [[ROWS, 1600]]
        assert blocks[0]["channels"]["voltage"][2] == samples[7]["channels"]["voltage"]
        assert blocks[0]["quality"] == {"2": {"temperature_max": "fault:nan"}}

        for wrong in (b"{", b'{"correlation_id": "b", "action": "dance"}', b'{"action": "backfill"}'):
            client.publish(COMMAND, wrong)
        wait(client, STATUS, lambda s: s[-1]["counters"].get("rejected") == 3)
        assert (recording.parent / "sensor.log").read_text().count(" rejected (") == 1  # once in ten seconds
        process.terminate()
        assert process.wait(20) == 0
        assert wait(client, STATUS, lambda s: s[-1]["state"] == "offline")[-1]["session"] == status.session
    with broker.client() as later:  # what is retained is there for who comes later
        later.subscribe("emberwatch/v1/pi/pack-1/layout/battery")
        layout = read_as(Topic.parse(TELEMETRY), bytes(later.wait_count(1)[0].payload), Layout)
        assert (layout.hash, layout.period_s) == (samples[0]["layout"], 1.0)
        assert [c.name for c in layout.channels] == ["voltage", "temperature_max"]


def test_a_killed_replay_goes_on_under_its_boot_and_nothing_is_missing(broker: Broker, recording: Path) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        for stage in (300, 700):
            with sensor(broker, recording, "400") as process:
                wait(client, TELEMETRY, lambda s, stage=stage: len(s) >= stage)  # type: ignore[misc]
                process.kill()
                process.wait()
        with sensor(broker, recording, "max"):
            wait(client, STATUS, finished)
            samples = wait(client, TELEMETRY, lambda s: len({x["seq"] for x in s}) == ROWS)
    assert len({s["boot"] for s in samples}) == 1
    first_of = {s["seq"]: told(s) for s in reversed(samples)}
    assert [first_of[seq] for seq in range(ROWS)] == expected(recording)
    assert all(told(s) == first_of[s["seq"]] for s in samples)  # what was repeated is the same


def test_a_reader_that_begins_is_told_the_layout_whatever_the_broker_has_lost(broker: Broker, recording: Path) -> None:
    with broker.client() as client, sensor(broker, recording, "max"):
        client.subscribe("emberwatch/v1/pi/#")
        wait(client, STATUS, finished)
        before = len(content(client, LAYOUT))
        client.publish("emberwatch/v1/pi/node/status/inference", write(Status(state="online", session="anew")))
        told = wait(client, LAYOUT, lambda layouts: len(layouts) > before)
        assert told[-1] == told[0]


def test_a_finished_replay_publishes_nothing_again(broker: Broker, recording: Path) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        for _ in range(2):
            with sensor(broker, recording, "max") as process:
                wait(client, STATUS, lambda s: finished(s) and s[-1]["state"] == "online")
                process.terminate()
                assert process.wait(20) == 0
                wait(client, STATUS, lambda s: s[-1]["state"] == "offline")
        assert len(content(client, TELEMETRY)) == ROWS


def rounds(samples: list[Any]) -> dict[str, list[Any]]:
    """The samples by boot, in the order in which the boots began."""
    found: dict[str, list[Any]] = {}
    for s in samples:
        found.setdefault(s["boot"], []).append(told(s))
    return found


def test_a_recording_that_repeats_begins_again_at_its_end_as_new_readings(broker: Broker, recording: Path) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "max", repeat=True):
            samples = wait(client, TELEMETRY, lambda s: len(s) >= 2 * ROWS)
        first, second, *_ = rounds(samples).items()
        assert first == (Recording(recording).identity("pi", "pack-1"), expected(recording))
        assert second == (Recording(recording).identity("pi", "pack-1", number=1), expected(recording))
        assert not any(finished([s]) for s in content(client, STATUS))  # it never ends


def test_a_finished_replay_is_begun_again_by_one_that_repeats_and_an_unfinished_one_goes_on(
    broker: Broker, recording: Path
) -> None:
    boots = [Recording(recording).identity("pi", "pack-1", number=n) for n in range(3)]
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "max") as process:
            wait(client, STATUS, finished)
            process.terminate()
            assert process.wait(20) == 0
        for _ in range(2):  # the second time it goes on
            stage = len(rounds(content(client, TELEMETRY)).get(boots[1], [])) + 300
            with sensor(broker, recording, "400", repeat=True) as process:
                wait(client, TELEMETRY, lambda s, stage=stage: len(rounds(s).get(boots[1], [])) >= stage)  # type: ignore[misc]
                process.terminate()
                assert process.wait(20) == 0
        known = len(content(client, STATUS))
        with sensor(broker, recording, "max"):  # and one that does not repeat plays the begun one to its end
            wait(client, STATUS, lambda s: len(s) > known and finished(s[known:]))
            samples = wait(client, TELEMETRY, lambda s: len(s) >= 2 * ROWS)
    assert rounds(samples) == {boot: expected(recording) for boot in boots[:2]}


def test_a_lost_journal_costs_no_identity(broker: Broker, recording: Path) -> None:
    """Moved aside with a message and a counter; the rows come again under the identity that they had."""
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "max") as process:
            wait(client, STATUS, finished)
            process.terminate()
            assert process.wait(20) == 0
        journal = recording.parent / "s" / "sensor" / "journal.sqlite3"
        journal.write_bytes(b"\xa5" * journal.stat().st_size)
        with sensor(broker, recording, "max"):
            samples = wait(client, TELEMETRY, lambda s: len(s) >= 2 * ROWS)
            assert wait(client, STATUS, finished)[-1]["counters"]["journal_corrupt"] == 1
    assert [told(s) for s in samples] == expected(recording) * 2
    assert len({s["boot"] for s in samples}) == 1
    assert [p.name for p in journal.parent.glob("*.corrupt-*")] != []
    assert "moved aside to journal.corrupt-" in (recording.parent / "sensor.log").read_text()


def test_a_read_only_data_folder_is_counted_and_stops_nothing(broker: Broker, recording: Path) -> None:
    """As an ordinary user: root may write everywhere."""
    let_in(recording.parent)
    folder = recording.parent / "s"
    folder.mkdir(mode=0o555)
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "max", prefix=NOBODY) as process:
            statuses = wait(client, STATUS, finished)
            assert statuses[-1]["counters"]["journal_failing"] == 1
            samples = wait(client, TELEMETRY, lambda s: len(s) >= ROWS)
            boot = samples[0]["boot"]
            ask = {"stream": "telemetry.battery", "device": "pack-1", "boot": boot, "ranges": [(5, 9)]}
            client.publish(COMMAND, write(Fetch.model_validate({"correlation_id": "a", "action": "backfill", **ask})))
            assert wait(client, BACKFILL, lambda b: b != [])[0]["seq"] == [5, 6, 7, 8, 9]  # from memory
            process.terminate()
            assert process.wait(20) == 0
    assert [told(s) for s in samples] == expected(recording)
    assert list(folder.iterdir()) == []
    log = (recording.parent / "sensor.log").read_text()
    assert f"{folder / 'sensor'}" in log
    assert "Permission denied" in log


def test_of_two_sensors_under_one_name_one_ends_with_a_named_error_and_the_other_stays(
    broker: Broker, recording: Path
) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "1") as first:
            wait(client, STATUS, lambda s: s[-1:] != [] and s[-1]["state"] == "online")
            with sensor(broker, recording, "1", folder="clone") as second:
                while (codes := [first.poll(), second.poll()]) == [None, None]:
                    more(client, 1)
                    assert len(content(client, STATUS)) < 300, "they take the session from each other for ever"
                assert sorted(map(str, codes)) == ["2", "None"]
                after = more(client, 4)[-2:]
                assert [s["state"] for s in after] == ["online", "online"]
                assert (first.poll(), second.poll()).count(None) == 1
    log = (recording.parent / "sensor.log").read_text()
    assert "sensor: client id emberwatch-pi-sensor at 127.0.0.1" in log
    assert "is a second installation running under the node name pi?" in log


def more(client: Client, count: int) -> list[Any]:
    """Wait for further statuses."""
    known = len(content(client, STATUS))
    return wait(client, STATUS, lambda s: len(s) >= known + count)


def test_two_processes_never_share_a_folder(broker: Broker, recording: Path) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        with sensor(broker, recording, "1"):
            wait(client, TELEMETRY, lambda s: len(s) >= 1)
            with sensor(broker, recording, "1") as second:
                assert second.wait(20) == 2
    assert "lock: another process uses this data folder" in (recording.parent / "sensor.log").read_text()
