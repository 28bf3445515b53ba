"""The service as a process, on a real broker: scores go out, and kill -9 neither loses nor repeats one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage

from services.bus.messages import Fetch, write
from tests.fixtures_mosquitto import Broker
from tests.inference.small_bundle import STRIDE, WINDOW, write_bundle

ROWS = 1200
SCORE = "emberwatch/v1/pi/pack-1/score/small"
JOURNAL = "emberwatch/v1/pi/pack-1/journal/score.small"
BACKFILL = "emberwatch/v1/pi/pack-1/backfill/score.small"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[Start]:
    """Starts services; kills what is left of them at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")}

    def start(service: str, **settings: str) -> "subprocess.Popen[bytes]":
        environment = inherited | {
            "EMBERWATCH_NODE": "pi",
            "EMBERWATCH_DATA_DIR": str(tmp_path / "data"),
            "EMBERWATCH_BROKER_PORT": str(broker.port),
        }
        environment |= {f"EMBERWATCH_{name.upper()}": value for name, value in settings.items()}
        with (tmp_path / f"{service}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", f"services.{service}"], env=environment, stderr=log)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A CSV of the profile's own names, 10 s a row, every value different."""
    path = tmp_path / "pack.csv"
    begin = datetime(2021, 5, 5, tzinfo=UTC)
    lines = ["ts,voltage,current,cell_voltages_1,cell_voltages_2"]
    lines += [
        f"{(begin + timedelta(seconds=10 * i)).isoformat()},{7 + i / 1e4:.4f},{i % 7},{3.4 + i / 1e4:.4f},3.6"
        for i in range(ROWS)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def announced(messages: list[MQTTMessage], count: int) -> dict[str, list[tuple[int, int]]] | None:
    """The journal's ranges by boot as last announced, if they hold this many scores."""
    pages = [json.loads(m.payload) for m in messages if m.topic == JOURNAL]
    ranges = [(r["boot"], (r["first"], r["last"])) for r in pages[-1]["ranges"]] if pages else []
    if sum(last - first + 1 for _, (first, last) in ranges) < count:
        return None
    return {boot: [r for b, r in ranges if b == boot] for boot, _ in ranges}


def sent(messages: list[MQTTMessage], held: dict[str, list[tuple[int, int]]]) -> list[dict[str, Any]] | None:
    """Each score once, as it was sent live and again, if none of what is held is missing."""
    scores = {}
    for message in messages:
        content = json.loads(message.payload)
        if message.topic == SCORE:
            scores[content["boot"], content["seq"]] = content
        elif message.topic == BACKFILL:
            scores |= {(content["boot"], seq): m for seq, m in zip(content["seq"], content["messages"], strict=True)}
    expected = {(boot, seq) for boot, ranges in held.items() for a, b in ranges for seq in range(a, b + 1)}
    return list(scores.values()) if expected <= scores.keys() else None


def test_killed_service_loses_and_repeats_no_score(
    broker: Broker, start: Start, recording: Path, tmp_path: Path
) -> None:
    bundles = json.dumps([str(write_bundle(tmp_path / "small"))])
    expected = list(range(0, ROWS - WINDOW, STRIDE))
    with broker.client() as client:
        client.subscribe(SCORE, JOURNAL, BACKFILL)
        inference = start("inference", bundles=bundles)
        start("sensor", replay=str(recording), device="pack-1", speed="4000")
        client.wait_count(len(expected) // 8)
        inference.send_signal(signal.SIGKILL)
        inference.wait()
        inference = start("inference", bundles=bundles)
        client.wait_count(len(expected) // 2)
        inference.send_signal(signal.SIGKILL)
        inference.wait()
        inference = start("inference", bundles=bundles)
        held = client.wait_until(lambda messages: announced(messages, len(expected)), "all scores in the journal")
        # one that was kept, but not sent when its service died, is there for who asks, as ingest and alert do
        for boot, ranges in held.items():
            ask = Fetch(
                correlation_id=boot, action="backfill", stream="score.small", device="pack-1", boot=boot, ranges=ranges
            )
            client.publish("emberwatch/v1/pi/node/command/inference", write(ask))
        told = client.wait_until(lambda messages: sent(messages, held), "all scores sent again")
        assert sorted(score["window"]["first"] for score in told) == expected
        inference.terminate()
        assert inference.wait(20) == 0


def test_broken_bundle_does_not_stop_the_service(broker: Broker, start: Start, recording: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundles" / "small")
    write_bundle(tmp_path / "bundles" / "broken", b"nonsense", name="broken")
    with broker.client() as client:
        client.subscribe(SCORE, "emberwatch/v1/pi/node/status/inference")
        start("inference", bundles=json.dumps([str(tmp_path / "bundles")]), heartbeat_s="0.2")
        start("sensor", replay=str(recording), device="pack-1", speed="max")
        assert json.loads(client.wait_for(SCORE).payload)["bundle"].startswith("small@1.0.0+")

        def counters() -> dict[str, float]:
            states = [json.loads(m.payload) for m in client.messages if m.topic.endswith("inference")]
            return next((s["counters"] for s in reversed(states) if s["counters"].get("bundles_refused")), {})

        count = len(client.messages)
        while not counters():
            count += 1
            client.wait_count(count)
        assert (counters()["bundles"], counters()["bundles_refused"]) == (1, 1)
    assert "broken/model.onnx: graph" in (tmp_path / "inference.log").read_text()
