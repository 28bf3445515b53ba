"""Kill anything, cut anything: nothing is lost, nothing counted twice, no alarm missed, none doubled."""

import asyncio
from pathlib import Path

from services.up.summary import complete
from services.up.system import System
from tests.proxy import Proxy
from tests.system.harness import CAR2, decisive, kill, play, until


async def kill_postgres(system: System) -> None:
    process = system.postgres.process
    assert process is not None
    process.kill()
    await until(lambda: system.postgres.process is not process)


async def test_kill_each_process_in_turn(tmp_path: Path) -> None:
    undisturbed = await play(tmp_path / "undisturbed", CAR2, "max")
    assert complete(undisturbed)
    assert undisturbed["scores"] > 50
    assert {a["rule"] for a in undisturbed["alarms"]} >= {"cell_spread"}

    names = ("sensor", "inference", "alert", "ingest", "broker-local", "broker-gateway", "broker-cloud")
    deeds = [(0.1 * i, kill(name)) for i, name in enumerate(names, 1)]
    killed = await play(tmp_path / "killed", CAR2, "4500", [*deeds, (0.8, kill_postgres)])
    assert complete(killed), killed
    assert decisive(killed) == decisive(undisturbed)


async def test_cut_of_the_bridge(tmp_path: Path) -> None:
    with Proxy(0) as bridge:

        async def cut(_: System) -> None:
            bridge.cut()
            await asyncio.sleep(10)  # the length of the outage is what is tested
            bridge.heal()

        summary = await play(tmp_path, CAR2, "6000", [(0.3, cut)], bridge=bridge)
    assert complete(summary), summary
    assert any(a["rule"] == "cell_spread" for a in summary["alarms"])
