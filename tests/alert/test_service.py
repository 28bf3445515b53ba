"""The service on a real broker: alarms out, commands in, killed and started again."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.alert.engine import Engine
from services.alert.rules import load_rules
from services.alert.service import serve
from services.alert.settings import AlertSettings
from services.bus.client import Bus
from services.bus.journal import Journal
from services.bus.messages import MODELS, AlarmStatus, Event, Evidence, Status, read_as, write
from services.bus.packing import unpack
from services.bus.publisher import Publisher
from services.bus.reader import Reader
from services.bus.settings import ROOT, BusSettings
from services.bus.topics import Topic, topic_filter
from tests.alert.builders import BOOT, TELEMETRY, command, judge, layout, sample, shipped
from tests.fixtures_mosquitto import Broker, Brokers
from tests.mqtt import Client

ALARM = "emberwatch/v1/pi/pack-1/alarm/over_temperature"
EVENT = "emberwatch/v1/pi/pack-1/event/over_temperature"
LAYOUT = Topic("pi", "pack-1", "layout", "battery")


def settings(broker: Broker, tmp_path: Path) -> AlertSettings:
    return AlertSettings(node="pi", broker_port=broker.port, data_dir=tmp_path, heartbeat_s=0.5)


@asynccontextmanager
async def sensor(broker: Broker, tmp_path: Path) -> AsyncIterator[Publisher]:
    """A sensor service in all but its source: journals, sends, and answers what is asked of it."""
    own = BusSettings(node="pi", broker_port=broker.port, data_dir=tmp_path)
    bus = Bus(own, service="sensor", subscribe=[topic_filter(node="pi", kind="command", name="sensor")])

    async def answer(reader: Reader) -> None:
        async for _ in reader.batches():
            pass

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bus)
        publisher = await stack.enter_async_context(Publisher(bus, own, "sensor"))
        publisher.use_boot(BOOT)
        answering = asyncio.create_task(answer(Reader(bus, publisher, own)))
        await bus.publish(LAYOUT, write(layout("temperature_max")), retain=True)
        yield publisher
        bus.close_intake()
        await answering


async def publish(publisher: Publisher, temperatures: Sequence[float | None], first: int = 0) -> None:
    for i, value in enumerate(temperatures, first):
        quality = {} if value is not None else {"temperature_max": "fault:crc"}
        fields = json.loads(write(sample(float(i), quality, temperature_max=value)))
        await publisher.publish(TELEMETRY, {k: v for k, v in fields.items() if k not in ("boot", "seq")})


async def wait(client: Client, topic: str, condition: Any) -> Any:
    """Wait for a message of `topic` of which `condition(parsed)` holds; return it parsed."""
    model = MODELS[Topic.parse(topic).kind]

    def found() -> Any:
        parsed = [
            read_as(Topic.parse(topic), bytes(m.payload), model)
            for m in client.messages
            if m.topic == topic and m.payload
        ]
        return next((p for p in reversed(parsed) if condition(p)), None)

    await asyncio.to_thread(client._wait, lambda: found() is not None, 20.0, topic)
    return found()


def journalled(path: Path) -> list[Event]:
    """What the service's journal holds of the alarm's events, by revision."""
    journal = Journal(path, max_bytes=2**30, max_age_s=1e9)
    found = [
        read_as(Topic.parse(EVENT), unpack(payload), Event)
        for (stream, boot), index in journal.index.items()
        for _, payload in journal.read(stream, boot, index.held, 1000)
        if stream == EVENT
    ]
    journal.close()
    return sorted(found, key=lambda e: e.revision)


async def subscribed(client: Client) -> None:
    """Wait until the alert service receives: its status follows its subscriptions."""
    await wait(client, "emberwatch/v1/pi/node/status/alert", lambda s: s.state == "online")


def events(client: Client) -> list[Event]:
    return [
        read_as(Topic.parse(m.topic), bytes(m.payload), Event) for m in client.messages if "/event/over_t" in m.topic
    ]


async def test_a_raise_is_shown_published_retained_acknowledged_and_kept(broker: Broker, tmp_path: Path) -> None:
    stop = asyncio.Event()
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        async with sensor(broker, tmp_path / "s") as publisher:
            serving = asyncio.create_task(serve(settings(broker, tmp_path / "a"), shipped(), stop))
            await subscribed(client)
            await publish(publisher, [30.0, 65.0, 65.0, 65.0])
            raised: AlarmStatus = await wait(client, ALARM, lambda a: a.state == "unacknowledged_active")
            assert raised.evidence is not None
            assert raised.evidence.sample is not None
            assert (raised.evidence.sample.seq, raised.evidence.value, raised.revision) == (3, 65.0, 1)
            assert (await wait(client, EVENT, lambda e: e.type == "raised")).occurrence == raised.occurrence
            assert "!!over temperature" in (tmp_path / "a" / "lcd.txt").read_text()
            where = "pi/pack-1/telemetry.battery"

            def told(s: Status) -> bool:
                at = s.positions.get(where)
                assert {"stale_wills", "out_of_order"} <= set(s.counters) or not s.display
                return bool(s.display and "RED" in s.display[0] and at and at.seq == 3)

            await wait(client, "emberwatch/v1/pi/node/status/alert", told)
            ask = command("acknowledge", "over_temperature", occurrence=raised.occurrence, severity="high", revision=1)
            for _ in range(2):
                client.publish("emberwatch/v1/pi/pack-1/command/alert", write(ask))
            await asyncio.to_thread(
                client._wait, lambda: sum("/reply/" in m.topic for m in client._messages) == 2, 20.0, ""
            )
            await wait(client, ALARM, lambda a: a.state == "acknowledged_active" and a.revision == 2)
            stop.set()
            await serving

            # a new run: the state is there again, and goes on from its revision
            stop.clear()
            client.publish(ALARM, b"", retain=True)
            serving = asyncio.create_task(serve(settings(broker, tmp_path / "a"), shipped(), stop))
            again = await wait(client, ALARM, lambda a: a.boot != raised.boot)
            assert (again.state, again.revision, again.occurrence) == ("acknowledged_active", 2, raised.occurrence)
            await publish(publisher, [50.0] * 40, first=4)
            assert (await wait(client, ALARM, lambda a: a.state == "normal")).revision == 3
            stop.set()
            await serving
    assert [e.type for e in events(client)] == ["raised", "acknowledged", "cleared"]


@pytest.mark.parametrize("cut", [3, 8, 60])
async def test_killed_in_between_no_event_is_lost_or_doubled(broker: Broker, tmp_path: Path, cut: int) -> None:
    temperatures = [30.0] * 5 + [65.0] * 10 + [85.0] * 10 + [30.0] * 60 + [70.0] * 10
    judged = judge(
        Engine("pi", shipped(), 0.0), *(sample(float(i), temperature_max=v) for i, v in enumerate(temperatures))
    )
    expected = [c for c in judged if c.rule == "over_temperature"]
    environment = os.environ | {
        "EMBERWATCH_NODE": "pi",
        "EMBERWATCH_BROKER_PORT": str(broker.port),
        "EMBERWATCH_DATA_DIR": str(tmp_path / "a"),
    }

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "services.alert"], env=environment, cwd=ROOT)

    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        async with sensor(broker, tmp_path / "s") as publisher:
            process = start()
            try:
                await subscribed(client)
                await publish(publisher, temperatures[:cut])
                if cut > 7:  # the raise is out: kill right behind it
                    await wait(client, EVENT, lambda e: e.type == "raised")
                process.kill()
                await asyncio.to_thread(process.wait)
                await publish(publisher, temperatures[cut:], first=cut)
                process = start()
                await wait(client, EVENT, lambda e: e.revision == expected[-1].revision)
                process.terminate()
                assert await asyncio.to_thread(process.wait) == 0
            finally:
                process.kill()
                process.wait()
    kept = journalled(tmp_path / "a" / "alert" / "journal.sqlite3")
    assert [(e.type, e.revision, e.ts) for e in kept] == [(c.type, c.revision, c.when) for c in expected]
    assert [e.alarm.evidence for e in kept] == [Evidence.model_validate(c.alarm["evidence"]) for c in expected]
    live = [e.revision for e in events(client)]
    assert live == sorted(set(live))  # one that was kept and not yet sent comes by backfill


def test_a_broken_rule_file_stops_the_start_with_its_name_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "rules" / "battery.yaml").read_text().replace("setpoint: 4.25", "setpoint: high"))
    environment = os.environ | {"EMBERWATCH_RULES": json.dumps([str(path)]), "EMBERWATCH_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "services.alert"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert f"alert: {path}: rules[cell_over_voltage].setpoint: Input should be a valid number" in done.stderr


async def test_garbage_on_its_topics_does_not_stop_it(broker: Broker, tmp_path: Path) -> None:
    stop = asyncio.Event()
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        async with sensor(broker, tmp_path / "s") as publisher:
            serving = asyncio.create_task(serve(settings(broker, tmp_path / "a"), shipped(), stop))
            await subscribed(client)
            for payload in (b"", b"{", b"[]", b'{"boot": 1}', b"\xff" * 100):
                for name in (
                    "telemetry/battery",
                    "score/dyad-int8",
                    "command/alert",
                    "layout/battery",
                    "status/sensor",
                ):
                    client.publish(f"emberwatch/v1/pi/pack-1/{name}", payload)
            await publish(publisher, [65.0] * 4)
            await wait(client, ALARM, lambda a: a.active)
            stop.set()
            await serving


async def test_in_the_cloud_a_dead_node_alarms_under_its_name(brokers: Brokers, tmp_path: Path) -> None:
    user, password = brokers.users["alert"]
    own = AlertSettings(
        role="cloud", broker_port=brokers.cloud.port, broker_username=user, broker_password=password, data_dir=tmp_path
    )
    stop, topic = asyncio.Event(), "emberwatch/v1/pi/node/status/sensor"
    with brokers.cloud.client() as cloud, brokers.local.client() as local:
        cloud.subscribe("emberwatch/v1/#")
        serving = asyncio.create_task(serve(own, load_rules(own.rule_files), stop))
        await wait(cloud, "emberwatch/v1/cloud/cloud/status/alert", lambda s: s.state == "online")
        for state in ("online", "offline"):
            await asyncio.to_thread(local.publish, topic, f'{{"state": "{state}", "session": "c1"}}', retain=True)
        alarm = await wait(cloud, "emberwatch/v1/cloud/pi/alarm/node_silent", lambda a: a.active)
        assert (alarm.severity, alarm.text) == ("high", "Node pi is silent")
        stop.set()
        await serving
