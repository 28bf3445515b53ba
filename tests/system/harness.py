"""Runs the whole system on a recording, with a hand that kills and cuts in mid-replay."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from services.bus.settings import ROOT, read_yaml
from services.up import ports
from services.up.settings import UpSettings
from services.up.system import System
from tests.proxy import Proxy

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
CAR2 = RECORDINGS / "car2.parquet"
ABOUT_THE_NODE = {rule["name"] for rule in read_yaml(ROOT / "rules" / "node.yaml")["rules"]}
Deed = Callable[[System], Awaitable[None]]


async def play(
    data: Path,
    replay: Path,
    speed: str,
    deeds: Sequence[tuple[float, Deed]] = (),
    *,
    bridge: Proxy | None = None,
    port_base: int | None = None,
    look: Deed | None = None,
) -> dict[str, Any]:
    """Replay until all has settled, with a deed at each fraction of the rows; then `look`. Returns the summary."""
    settings = UpSettings(replay, None, "pack-1", speed, data, True, port_base)
    async with AsyncExitStack() as stack:
        chosen = ports.choose(port_base)
        if bridge is not None:
            bridge.target = chosen["cloud"]
        system = await stack.enter_async_context(System(settings, chosen, bridge_port=bridge.port if bridge else None))
        acting = asyncio.create_task(_act(system, deeds))
        reasons: list[str] = []
        try:
            async with asyncio.timeout(170):
                await acting
                async for under_way in system.settling():
                    reasons = under_way
        except TimeoutError:
            raise AssertionError(f"did not settle: {reasons}; logs in {data / 'logs'}") from None
        if look is not None:
            await look(system)
        return await system.summary()


async def _act(system: System, deeds: Sequence[tuple[float, Deed]]) -> None:
    for fraction, deed in deeds:
        while True:
            replay = system.statuses["sensor"].replay
            if replay is not None and replay.published >= fraction * replay.rows:
                break
            assert replay is None or not replay.finished, f"the replay ended before the deed at {fraction}"
            await asyncio.sleep(0.05)
        await deed(system)


def kill(name: str) -> Deed:
    """kill -9, then wait until the supervisor has started it anew."""

    async def deed(system: System) -> None:
        child = system.children[name]
        pid, restarts = child.pid, child.restarts
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: child.restarts > restarts and child.pid is not None)

    return deed


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 (a process tells nobody)
            await asyncio.sleep(0.02)


def decisive(summary: dict[str, Any]) -> str:
    """What must be the same however the replay went: scores, and every alarm of the device with its time.

    The alarms of the node itself (a service was killed) are about the deeds.
    """
    told = [a for a in summary["alarms"] if a["rule"] not in ABOUT_THE_NODE]
    alarms = [{k: a[k] for k in ("rule", "channel", "ts", "severity")} for a in told]
    return json.dumps([summary["published"], summary["scores"], alarms], indent=0)
