"""A data folder that is used again: the same recording goes round, another one has its own figures."""

import asyncio
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from services.up import ports
from services.up.settings import DEMO, UpSettings
from services.up.summary import complete
from services.up.system import System
from tests.system.harness import CAR2, decisive, play

ROWS = 1500


def beginning(path: Path, source: Path) -> Path:
    pq.write_table(pq.read_table(source).slice(0, ROWS), path)
    return path


async def rounds(system: System) -> list[str]:
    """Boots of the recording's replays that are wholly in the database, the first one first."""
    query = {"node": "pi", "device": "pack-1"}
    streams: list[dict[str, Any]] = (await system.http.get("/api/v1/streams", params=query)).raise_for_status().json()
    stored = [s["boot"] for s in streams if s["kind"] == "telemetry" and s["received_ranges"] == [[0, ROWS - 1]]]
    return stored[::-1]


async def go_round(data: Path, recording: Path, port_base: int, count: int) -> list[str]:
    """Run until `count` replays are stored; nothing may have been refused or have been silent."""
    settings = UpSettings(recording, None, "pack-1", "max", data, False, port_base)
    async with System(settings, ports.choose(port_base)) as system, asyncio.timeout(120):
        while len(stored := await rounds(system)) < count:
            if system.failed.done():
                await system.failed
            await asyncio.sleep(0.5)
        events = (await system.http.get("/api/v1/alarms/history", params={"node": "pi"})).json()["items"]
        # the seam is no silence of the device (a service that a busy disk holds up for long is an alarm of its own)
        assert not any(e["rule"] in ("telemetry_silent", "broker_lost") for e in events)
        assert (await system.http.get("/api/v1/quarantine")).json() == []
        assert {
            name: s.counters.get("rejected", 0) for name, s in system.statuses.items() if s.counters
        } == dict.fromkeys(("sensor", "inference", "alert"), 0)
        assert all(child.restarts == 0 for child in system.children.values())
    return stored


async def test_a_used_folder(tmp_path: Path) -> None:
    demo, other = beginning(tmp_path / "demo.parquet", DEMO), beginning(tmp_path / "other.parquet", CAR2)
    base = ports.choose(None).base
    stored, fresh = await asyncio.gather(
        go_round(tmp_path / "used", demo, base, 2), play(tmp_path / "fresh", other, "max", port_base=base + 20)
    )
    assert complete(fresh)
    assert fresh["scores"] > 0

    assert len(await go_round(tmp_path / "used", demo, base, len(stored) + 1)) > len(stored)  # a second `up` moves, too

    for _ in range(2):  # and the second time nothing is published any more
        used = await play(tmp_path / "used", other, "max", port_base=base)
        assert complete(used), used
        assert (used["stored"], decisive(used)) == (ROWS, decisive(fresh))
