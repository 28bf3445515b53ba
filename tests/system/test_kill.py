"""Kill anything, cut anything: nothing is lost, nothing counted twice, no alarm missed, none doubled."""

import asyncio
from pathlib import Path
from typing import Any

from services.up.summary import complete
from services.up.system import System
from tests.proxy import Proxy
from tests.system.harness import CAR2, Deed, decisive, kill, play, until

Item = dict[str, Any]


async def kill_postgres(system: System) -> None:
    process = system.postgres.process
    assert process is not None
    process.kill()
    await until(lambda: system.postgres.process is not process)


async def estimates(system: System) -> list[Item]:
    """All that are stored of the device, in the order of the samples that they are of; `boot` and `seq` left out."""
    found: list[Item] = []
    query: dict[str, Any] = {"limit": 10_000}
    while query:
        answer = await system.http.get(f"/api/v1/devices/{system.node}/pack-1/estimates", params=query)
        page = answer.raise_for_status().json()
        found += [{k: item[k] for k in ("ts", "of", "values")} for item in page["items"]]
        query = query | {"after": page["next"]} if page["next"] else {}
    return sorted(found, key=lambda item: int(item["of"]["seq"]))


def keeping(kept: list[Item]) -> Deed:
    async def look(system: System) -> None:
        kept.extend(await estimates(system))

    return look


async def test_kill_each_process_in_turn(tmp_path: Path) -> None:
    told: list[Item] = []
    undisturbed = await play(tmp_path / "undisturbed", CAR2, "max", look=keeping(told))
    assert len(told) > 1000
    assert complete(undisturbed)
    assert undisturbed["scores"] > 50
    assert {a["rule"] for a in undisturbed["alarms"]} >= {"cell_spread"}

    names = ("sensor", "inference", "alert", "ingest", "broker-local", "broker-gateway", "broker-cloud")
    deeds = [(0.1 * i, kill(name)) for i, name in enumerate(names, 1)]
    again: list[Item] = []
    killed = await play(tmp_path / "killed", CAR2, "4500", [*deeds, (0.8, kill_postgres)], look=keeping(again))
    assert complete(killed), killed
    assert decisive(killed) == decisive(undisturbed)
    assert again == told  # no estimate missing, none doubled, none another


async def test_cut_of_the_bridge(tmp_path: Path) -> None:
    with Proxy(0) as bridge:

        async def cut(_: System) -> None:
            bridge.cut()
            await asyncio.sleep(10)  # the length of the outage is what is tested
            bridge.heal()

        summary = await play(tmp_path, CAR2, "6000", [(0.3, cut)], bridge=bridge)
    assert complete(summary), summary
    assert any(a["rule"] == "cell_spread" for a in summary["alarms"])
