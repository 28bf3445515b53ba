"""Samples a second from a recording's replay to the committed row, beside a bare paho pair in the same run.

    python -m benchmarks.path [--rounds 3] [--replay FILE]

Both carry the same payloads at QoS 1 in turn, round by round, so that the ratio holds when the machine's speed drifts.
The pair is one publisher and one subscriber in one process, each with paho's own thread, through one Mosquitto with
the cloud broker's limits: no journal, no judgement, no bridge, no database.
"""

import argparse
import asyncio
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from rich.progress import track

from benchmarks.report import spread, write_section
from services.bus.messages import format_time, write_fields
from services.sensor.recorded import open_recording
from services.up import ports
from services.up.settings import DEMO, UpSettings
from services.up.system import System


def payloads(replay: Path) -> list[bytes]:
    recording = open_recording(replay, None)
    return [
        write_fields(
            {
                "boot": "0" * 16,
                "seq": chunk.first + i,
                "ts": format_time(datetime.fromtimestamp(chunk.times[i], UTC)),
                "mono": chunk.mono[i],
                "time_source": "ntp",
                "layout": recording.layout.hash,
                "channels": channels,
            }
        )
        for chunk in recording.chunks()
        for i, (channels, _) in enumerate(chunk.rows)
    ]


def bare_pair(messages: list[bytes]) -> float:
    """Messages a second through a bare paho publisher and subscriber."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        conf = Path(folder) / "mosquitto.conf"
        conf.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 2000\n"
            "max_queued_messages 100000\npersistence false\n"
        )
        broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            return _pair(port, messages)
        finally:
            broker.terminate()
            broker.wait()


def _pair(port: int, messages: list[bytes]) -> float:
    arrived, subscribed, done = 0, threading.Event(), threading.Event()

    def on_message(_c: paho.Client, _u: Any, _m: paho.MQTTMessage) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == len(messages):
            done.set()

    def client(name: str) -> paho.Client:
        made = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        made.max_inflight_messages_set(2000)
        for _ in range(100):
            try:
                made.connect("127.0.0.1", port)
                break
            except OSError:
                time.sleep(0.05)
        made.loop_start()
        return made

    subscriber = client("subscriber")
    subscriber.on_message = on_message
    subscriber.on_subscribe = lambda *_: subscribed.set()
    subscriber.subscribe("telemetry", 1)
    subscribed.wait(10)
    publisher = client("publisher")
    start = time.perf_counter()
    for payload in messages:
        publisher.publish("telemetry", payload, 1)
    done.wait(300)
    rate = len(messages) / (time.perf_counter() - start)
    for c in (publisher, subscriber):
        c.disconnect()
        c.loop_stop()
    return rate


async def whole_path(replay: Path) -> tuple[float, dict[str, float]]:
    """Rows a second from the first publication to the last committed row; CPU microseconds a row by process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = UpSettings(replay, None, "pack-1", "max", Path(folder), True, None)
        async with System(settings, ports.choose(None)) as system:
            start = time.perf_counter()
            while True:
                response = await system.http.get("/api/v1/streams", params={"node": system.node})
                stored = sum(s["received"] for s in response.json() if s["kind"] == "telemetry")
                replayed = system.statuses["sensor"].replay
                if replayed is not None and stored >= replayed.rows:
                    break
                await asyncio.sleep(0.2)
            rate = stored / (time.perf_counter() - start)
            cpu = {name: _cpu(child.pid) / stored * 1e6 for name, child in system.children.items()}
            postgres = system.postgres.process
            if postgres is not None:
                cpu["postgres"] = _cpu(postgres.pid) / stored * 1e6
            return rate, cpu


def _cpu(pid: int | None) -> float:
    """CPU seconds of a process and all it started, ended ones included."""
    if pid is None:
        return 0.0
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    times = [p.cpu_times() for p in family]
    return float(sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replay", type=Path, default=DEMO)
    arguments = parser.parse_args()
    messages = payloads(arguments.replay)
    pairs, paths, cpus = [], [], []
    for _ in track(range(arguments.rounds), "rounds"):
        pairs.append(bare_pair(messages))
        rate, cpu = asyncio.run(whole_path(arguments.replay))
        paths.append(rate)
        cpus.append(cpu)
    ratios = [path / pair for path, pair in zip(paths, pairs, strict=True)]
    size = statistics.mean(map(len, messages))
    lines = [
        f"{len(messages)} rows of `{arguments.replay.name}` (mean payload {size:.0f} bytes), "
        f"{arguments.rounds} rounds in turn.",
        "",
        "| | minimum | median | maximum |",
        "|---|---|---|---|",
        f"| bare paho pair, messages/s | {spread(pairs, 0)} |",
        f"| replay to committed row, samples/s | {spread(paths, 0)} |",
        f"| **ratio** | {spread(ratios, 2)} |",
        "",
        "CPU a sample [µs], start-up included: "
        + ", ".join(f"{name} {statistics.median(c[name] for c in cpus):.0f}" for name in cpus[0])
        + ".",
    ]
    write_section("path", lines)


if __name__ == "__main__":
    main()
