"""A short in a simulated pack, through every part: readings, estimates and the alarm are in the database."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.up import ports
from services.up.settings import DEMO, UpSettings
from services.up.system import System

Item = dict[str, Any]
PACKS = """\
seed: 3
period_s: 0.2
packs:
  healthy: {cells: 4, probes: 4, capacity_ah: 0.1, soc: 0.5, day: [{do: rest, minutes: 60}]}
  shorted:
    cells: 4
    probes: 4
    capacity_ah: 0.1
    soc: 0.5
    day: [{do: rest, minutes: 60}]
    faults: [{kind: internal_short, size: 5, cell: 2, begins_s: 1}]
"""  # cells so small that they are hot within seconds


async def wait_for(system: System, path: str, enough: Callable[[list[Item]], bool]) -> list[Item]:
    items: list[Item] = []
    try:
        async with asyncio.timeout(40):
            while not enough(items):
                answer = (await system.http.get(path, params={"node": system.node})).raise_for_status().json()
                items = answer["items"] if isinstance(answer, dict) else answer
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(items) from None
    return items


def stored(streams: list[Item]) -> bool:
    """Readings of both packs without a hole, and an estimate: its heating is news (the usual is told once a minute)."""
    told = {(s["device"], s["kind"]): s for s in streams}
    readings = [told.get((device, "telemetry")) for device in ("healthy", "shorted")]
    return ("shorted", "estimate") in told and all(r and r["highest"] > 20 and not r["missing"] for r in readings)


async def test_a_simulated_short_raises_its_alarm(tmp_path: Path) -> None:
    simulation = tmp_path / "packs.yaml"
    simulation.write_text(PACKS)
    settings = UpSettings(DEMO, None, "pack-1", "1", tmp_path / "data", True, None, simulation)
    async with System(settings, ports.choose(None)) as system:
        await wait_for(system, "/api/v1/streams", stored)
        alarms = await wait_for(system, "/api/v1/alarms", lambda found: any(a["device"] != "node" for a in found))
        hot = [a for a in alarms if a["rule"] == "thermal_runaway"]
        assert [(a["device"], a["alarm"]["severity"]) for a in hot] == [("shorted", "critical")]
        assert not [a for a in alarms if a["device"] == "healthy"]
