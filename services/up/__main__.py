"""`./emberwatch up`: the whole system on this machine, on recorded data."""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from typing import Any

import orjson
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.bus import lifecycle
from services.bus.errors import ConfigError, JournalError
from services.bus.installation import FolderLock
from services.bus.messages import Status
from services.bus.settings import BusSettings
from services.sensor.recorded import open_recording
from services.sensor.simulated.config import load_config
from services.up import ports as port_choice
from services.up.settings import UpSettings, add_arguments, from_arguments
from services.up.summary import complete
from services.up.system import System

log = logging.getLogger(__name__)
console = Console(stderr=True, soft_wrap=True)


async def up(settings: UpSettings, stop: asyncio.Event) -> int:
    # what can be known to be wrong is said before anything is started
    identity = await asyncio.to_thread(_check_source, settings)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--data", str(settings.data), error.strerror or str(error)) from None
    if not os.access(settings.data, os.W_OK):
        raise ConfigError("--data", str(settings.data), "not writable")
    try:
        lock = FolderLock(settings.data)
    except JournalError:
        raise ConfigError("--data", str(settings.data), "another `up` uses this folder") from None
    try:
        return await _run(settings, identity, stop)
    finally:
        lock.release()


def _check_source(settings: UpSettings) -> str:
    """The recording's identity; "" of a simulation, which is new each time. Raises what is wrong with the file."""
    if settings.simulation is not None:
        load_config(settings.simulation)
        return ""
    recording = open_recording(settings.replay, settings.map)
    return recording.identity(BusSettings.load().node, settings.device)  # the sensor opens it anew


async def _run(settings: UpSettings, identity: str, stop: asyncio.Event) -> int:
    ports = port_choice.choose(settings.port_base)
    console.print(f"Emberwatch starts (data and logs in {settings.data}) ..")
    async with System(settings, ports, os.environ.get("EMBERWATCH_DATABASE_URL")) as system:
        console.print(_greeting(system, identity))
        stopping = asyncio.create_task(stop.wait())
        if settings.until_done:
            done = asyncio.create_task(_until_done(system))
            await _first(stopping, done, system.failed)
            if done.done():
                summary = await done
                sys.stdout.write(orjson.dumps(summary).decode() + "\n")
                sys.stdout.flush()
                return 0 if complete(summary) else 1
            done.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await done
        else:
            await _first(stopping, system.failed)
        if system.failed.done():
            await system.failed
        console.print("stopping ..")
    return 130 if settings.until_done else 0


async def _first(*ends: asyncio.Future[Any]) -> None:
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


async def _until_done(system: System) -> dict[str, Any]:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with progress:
        task = progress.add_task("replaying", total=1)
        async for reasons in system.settling():
            replay = system.statuses["sensor"].replay if "sensor" in system.statuses else None
            if replay is not None:
                progress.update(task, total=replay.rows, completed=replay.published)
            progress.update(task, description=reasons[0][:70])
    return await system.summary()


def which(sensor: Status, identity: str) -> str:
    """Says if this replay is not the first of its recording (whose boot is `identity`), or does not begin at row 0."""
    again = " again (what it brought earlier is kept)" if sensor.boot != identity else ""
    at = sensor.replay
    if at is None or not at.published:
        return again
    return f"{again}, which was finished earlier," if at.published >= at.rows else f"{again} from row {at.published} on"


def _greeting(system: System, identity: str) -> str:
    ports, settings = system.ports, system.settings
    replaying = (
        f"replaying {settings.replay.name}{which(system.statuses['sensor'], identity)} at "
        + ("full speed" if settings.speed == "max" else f"{settings.speed} times its speed")
        + f" as node {system.node}, device {settings.device}"
    )
    simulating = f"simulating {settings.simulation} as node {system.node}"
    lines = [
        replaying if settings.simulation is None else simulating,
        f"REST       http://127.0.0.1:{ports['ingest']}/docs",
        f"MQTT       mosquitto_sub -p {ports['gateway']} -t 'emberwatch/v1/#' -v",
        f"LCD        {settings.data / 'edge' / 'lcd.txt'}",
        f"logs       {settings.data / 'logs'}",
    ]
    if not settings.until_done:
        lines.insert(0, f"[bold]dashboard  http://127.0.0.1:{ports['dashboard']}[/bold]")
        if settings.simulation is None:
            lines.append("When the recording ends it begins again.")
        lines.append("Ctrl-C stops everything; the data stays.")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> int:
    result = 0

    async def run(stop: asyncio.Event) -> None:
        nonlocal result
        logging.getLogger("httpx").setLevel(logging.WARNING)
        result = await up(from_arguments(arguments), stop)

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console)])
    return lifecycle.run(run, "up") or result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="emberwatch up", description=__doc__)
    add_arguments(parser)
    sys.exit(main(parser.parse_args()))
