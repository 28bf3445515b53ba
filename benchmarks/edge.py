"""What the edge costs: a window's latency by model, and CPU, memory, bytes written and latency of each edge process.

    python -m benchmarks.edge [--seconds 300] [--peer PYTHON]

Model: the shipped INT8 graph, the float graph it was made from and the torch module, one thread, batch 1, in turn.
Edge: the services and brokers of a node at 1 sample/s, of 96 cells and of what a bare Pi has; the server's processes
run beside them and are not counted. Tails and display file are in memory, as on a Pi. Peer: a Python BMS logger
(bms_logger.py), run by the interpreter that has it, at the same time.
Latencies: a score a step, at 1 step/s (a recording of 10 s steps, ten times faster, so that a window of 128 steps
fills in two minutes) and at 200 samples/s.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from benchmarks.bms_logger import logger
from benchmarks.report import spread, write_section
from services.bus.settings import ROOT
from services.doctor.power import written_bytes
from services.inference.bundle import MODEL, load_bundle, open_session
from services.up import ports
from services.up.settings import DEMO, UpSettings
from services.up.summary import quantile
from services.up.system import System

FEW = [
    "tboxTime",
    "BMSBatteryVoltage",
    "BMSBatteryCurrent",
    "vehBMSPackSOC",
    "BMSProbeTempMax",
    "BMSProbeTempMin",
]
EDGE = ("sensor", "inference", "alert", "broker-local", "broker-gateway")
BUNDLE = ROOT / "bundles" / "dyad-int8"
LATENCY_S = 200.0  # 128 of them fill the first window


def models(rounds: int = 40) -> list[str]:
    """Latency of one window [ms]."""
    import torch

    from training.compress.student_graph import write
    from training.models.conv import ConvDyad, Size
    from training.models.pack import CHANNELS

    torch.set_num_threads(1)
    net = ConvDyad(Size()).eval()
    bundle = load_bundle(BUNDLE)
    steps = bundle.manifest.window
    window = np.random.default_rng(1).normal(size=(1, steps, len(CHANNELS))).astype(np.float32)
    mask = np.ones_like(window)
    float_session = open_session(write(net, None).model().SerializeToString(), BUNDLE / MODEL)
    tensors = torch.from_numpy(window), torch.from_numpy(mask)

    def by_torch() -> None:
        with torch.inference_mode():
            net(*tensors)

    runs: dict[str, Callable[[], object]] = {
        "INT8, ONNX Runtime (shipped)": lambda: bundle.run(window[0], mask[0]),
        "FP32, ONNX Runtime": lambda: float_session.run(None, {"window": window, "mask": mask}),
        "FP32, torch": by_torch,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            for _ in range(20):
                run()
            times[name].append((time.perf_counter() - start) / 20 * 1e3)
    medians = {name: statistics.median(t) for name, t in times.items()}
    first = next(iter(medians.values()))
    return [
        "| one window of 128 steps | minimum [ms] | median | maximum | times the INT8 median |",
        "|---|---|---|---|---|",
        *(f"| {name} | {spread(t, 3)} | {medians[name] / first:.2f} |" for name, t in times.items()),
    ]


@dataclass
class Use:
    cpu_s: float
    rss: int
    pss: int
    written: int


@dataclass
class Run:
    """Use of each edge process over `passed` [s], latencies of the scores [ms], alarm events (each is synced)."""

    use: dict[str, Use]
    passed: float
    latencies: list[float]
    events: int


def _events(system: System) -> int:
    status = system.statuses.get("alert")
    counters = status.counters if status is not None else {}
    return sum(int(count) for name, count in counters.items() if name.startswith("event_"))


def _use(pid: int | None) -> Use:
    if pid is None:
        return Use(0, 0, 0, 0)
    process = psutil.Process(pid)
    times = process.cpu_times()
    memory = process.memory_full_info()
    return Use(times.user + times.system, memory.rss, memory.pss, written_bytes(Path(f"/proc/{pid}")))


async def edge(replay: Path, speed: str, seconds: float, progress: Progress) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        settings = UpSettings(replay, None, "pack-1", speed, Path(folder), True, None)
        async with System(settings, ports.choose(None)) as system:
            await asyncio.sleep(5)  # start-up is not part of it
            events = _events(system)
            before = {name: _use(system.children[name].pid) for name in EDGE}
            start = time.monotonic()
            task = progress.add_task(f"edge at speed {speed}", total=seconds)
            while time.monotonic() - start < seconds:
                await asyncio.sleep(1)
                progress.advance(task)
                replayed = system.statuses["sensor"].replay
                if replayed is not None and replayed.finished:
                    break
            passed = time.monotonic() - start
            after = {name: _use(system.children[name].pid) for name in EDGE}
            events = _events(system) - events
            scores = (await system.http.get(f"/api/v1/devices/{system.node}/pack-1/scores?limit=10000")).json()["items"]
    use = {
        n: Use(after[n].cpu_s - before[n].cpu_s, after[n].rss, after[n].pss, after[n].written - before[n].written)
        for n in EDGE
    }
    return Run(use, passed, [s["latency_ms"] for s in scores if s["latency_ms"] is not None], events)


def _recording(folder: Path, apart_s: int) -> Path:
    """The demo's rows as if so many seconds lay between them."""
    table = pq.read_table(DEMO)
    start = table.column("tboxTime")[0].as_py()
    times = np.datetime64(start) + np.arange(table.num_rows) * np.timedelta64(apart_s, "s")
    at = table.column_names.index("tboxTime")
    path = folder / f"{apart_s}.parquet"
    pq.write_table(table.set_column(at, "tboxTime", pa.array(times.astype("datetime64[us]"))), path)
    return path


def _few_channels(recording: Path) -> Path:
    """What a bare Pi measures: voltage, current and two probes, and the state of charge of it."""
    table = pq.read_table(recording)
    path = recording.with_name("few.parquet")
    pq.write_table(table.select(FEW), path)
    return path


def _table(use: dict[str, Use], passed: float) -> list[str]:
    rows = [
        f"| {n} | {u.cpu_s / passed * 100:.2f} | {u.rss / 2**20:.0f} | {u.pss / 2**20:.0f} "
        f"| {u.written / passed * 86_400 / 1e6:.0f} |"
        for n, u in use.items()
    ]
    total = (
        f"| **together** | {sum(u.cpu_s for u in use.values()) / passed * 100:.2f} "
        f"| {sum(u.rss for u in use.values()) / 2**20:.0f} "
        f"| {sum(u.pss for u in use.values()) / 2**20:.0f} "
        f"| {sum(u.written for u in use.values()) / passed * 86_400 / 1e6:.0f} |"
    )
    return [
        "| process | CPU [% of a core] | RSS [MB] | PSS [MB] | written [MB/day] |",
        "|---|---|---|---|---|",
        *rows,
        total,
    ]


def _beside(python: Path, run: Callable[[], Run]) -> tuple[Any, list[str]]:
    """A run of ours and, at the same time, the peer."""
    with logger(python) as (pid, bms):
        before, read, start = _use(pid), bms.answered, time.monotonic()
        found = run()
        after, passed = _use(pid), time.monotonic() - start
        times = bms.answered - read
    use = Use(after.cpu_s - before.cpu_s, after.rss, after.pss, after.written - before.written)
    return found, [
        "",
        f"At the same time dalybms 0.5 (Python, a serial BMS of 16 cells each second, to MQTT; it keeps and judges "
        f"nothing), {times} readings in {passed:.0f} s:",
        "",
        *_table({"dalybms": use}, passed)[:3],
    ]


def _each_step(folder: Path) -> Path:
    """The shipped bundle with a score each step instead of each 16th, for enough latencies."""
    target = folder / "bundles" / BUNDLE.name
    shutil.copytree(BUNDLE, target)
    manifest = orjson.loads((target / "manifest.json").read_bytes())
    (target / "manifest.json").write_bytes(orjson.dumps(manifest | {"stride": 1}))
    return target.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--peer", type=Path, help="interpreter of an environment with dalybms and paho-mqtt")
    arguments = parser.parse_args()
    lines = models()
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir="/dev/shm") as tails,
        Progress() as progress,
    ):
        # a node installs no pandas (the dashboard does); pyarrow imports it where it is
        (Path(folder) / "pandas.py").write_text("raise ImportError('not on a node')\n")
        os.environ["PYTHONPATH"] = f"{folder}:{ROOT}"
        os.environ["EMBERWATCH_TAIL_DIR"] = tails
        os.environ["EMBERWATCH_DISPLAY_FILE"] = f"{tails}/lcd.txt"
        recording = _recording(Path(folder), 1)

        def run(path: Path) -> Run:
            return asyncio.run(edge(path, "1", arguments.seconds, progress))

        many, peer = _beside(arguments.peer, lambda: run(recording)) if arguments.peer else (run(recording), [])
        few = run(_few_channels(recording))
        os.environ["EMBERWATCH_BUNDLES"] = f'["{_each_step(Path(folder))}"]'
        # a window has 128 steps of 10 s: ten times as fast, a row is a step and each second has a score
        slow = asyncio.run(edge(_recording(Path(folder), 10), "10", LATENCY_S, progress))
        fast = asyncio.run(edge(DEMO, "200", 70, progress))
    latencies, fast_ms = slow.latencies, fast.latencies
    lines += [
        "",
        f"A node at 1 sample/s of 96 cells and 24 probes, as shipped, {many.passed:.0f} s, {many.events} alarm events:",
        "",
        *_table(many.use, many.passed),
        *peer,
        "",
        f"The same of what a bare Pi measures (voltage, current, state of charge, two probes), {few.passed:.0f} s, "
        f"{few.events} alarm events:",
        "",
        *_table(few.use, few.passed),
        "",
        "PSS counts a page that several processes share once. As on a node, pandas is not there: "
        "the dashboard brings it.",
        "",
        "From publishing the sample that completes a window (the first of the next step) to its score, a score a step:",
        "",
        "| | scores | p50 [ms] | p99 [ms] |",
        "|---|---|---|---|",
        f"| 1 sample/s | {len(latencies)} | {quantile(latencies, 0.5)} | {quantile(latencies, 0.99)} |",
        f"| 200 samples/s | {len(fast_ms)} | {quantile(fast_ms, 0.5)} | {quantile(fast_ms, 0.99)} |",
    ]
    write_section("edge", lines)


if __name__ == "__main__":
    main()
