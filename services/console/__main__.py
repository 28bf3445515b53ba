"""`./emberwatch status`, `alarms`, `drill`: the state of a node, the answer to its alarms, a test of them, over MQTT.

Talks to the node's local broker, so it works with no network and no server.
"""

import argparse
import asyncio
import contextlib
import getpass
import os
import socket
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from services.bus import lifecycle
from services.bus.client import Bus
from services.bus.errors import ConfigError, EmberwatchError, PayloadError
from services.bus.messages import Acknowledge, new_boot, read
from services.bus.settings import ROOT, BusSettings, read_yaml
from services.bus.topics import Topic, topic_filter
from services.console.drill import DRILL, drill
from services.console.overview import Overview, alarm_table, status_table
from services.console.pair import pair

ANSWER_S: Final = 5.0
QUIET_S: Final = 0.5  # retained topics come at once; after such a pause they have all come
ACTIONS: Final = {"ack": "acknowledge", "shelve": "shelve", "unshelve": "unshelve", "reset": "reset"}
DATA: Final = ROOT / "data"  # where `up` keeps everything when it is told nothing else
console = Console(soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help=f"data folder of `up` ({DATA})")
    parser.add_argument("--port", type=int, help="port of the local broker; default: the running `up`, else settings")
    if verb == "alarms":
        parser.add_argument("action", nargs="?", choices=list(ACTIONS), help="what to do; nothing = list them")
        parser.add_argument("rule", nargs="?", help="the alarm's rule")
        parser.add_argument("--device", help="the alarm's device, if several have it")
        parser.add_argument("--channel", help="the alarm's channel, if several have it")
    if verb in ("alarms", "drill", "pair"):
        parser.add_argument("--by", default=f"{getpass.getuser()}@{socket.gethostname()}", help="who you are")
        parser.add_argument("--reason", help="why (a shelf needs one)")
    if verb == "pair":
        parser.add_argument("--seconds", type=float, default=120, help="how long phones may pair (120; 600 at most)")
    if verb == "alarms":
        parser.add_argument("--minutes", type=float, default=30, help="length of a shelf (30)")


def _settings(arguments: argparse.Namespace, scratch: str) -> BusSettings:
    known = arguments.data / "up.yaml"
    overrides: dict[str, object] = {"data_dir": Path(scratch), "session_expiry_s": 0}
    if arguments.port:
        overrides["broker_port"] = arguments.port
    elif known.exists():
        overrides |= read_yaml(known)
    return BusSettings.load(**overrides)


def _asked(settings: BusSettings, arguments: argparse.Namespace) -> str:
    """Whom we asked, and how we came to ask there."""
    if arguments.port:
        why = "--port"
    else:
        known = (arguments.data / "up.yaml").absolute()
        why = (
            f"{known}; is `up` still running?"
            if known.exists()
            else f"settings; no `up` has used --data {known.parent}"
        )
    return f"{settings.broker_host}:{settings.broker_port} ({why})"


async def _gather(bus: Bus, asked: str) -> Overview:
    overview = Overview()
    try:
        await asyncio.wait_for(bus.wait_connected(), ANSWER_S)
    except TimeoutError:
        raise EmberwatchError(f"no broker answers at {asked}") from None
    batches = bus.batches(tick_s=QUIET_S)
    async for batch in batches:
        if not batch:
            return overview
        for message in batch:
            with contextlib.suppress(PayloadError):
                topic = Topic.parse(message.topic)
                overview.take(topic, read(topic, message.payload))
            message.ack()
    return overview


async def run(arguments: argparse.Namespace, verb: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        settings = _settings(arguments, scratch)
        node = settings.node
        filters = [
            topic_filter(node, kind="status"),
            topic_filter(node, kind="alarm"),
            topic_filter(node, kind="reply"),
            topic_filter(node, kind="event", name=DRILL),
        ]
        async with Bus(
            settings, service="console", subscribe=filters, client_id=f"console-{os.getpid()}", announce=False
        ) as bus:
            overview = await _gather(bus, _asked(settings, arguments))
            if verb == "alarms" and arguments.action:
                return await _command(bus, overview, arguments)
            if verb == "drill":
                return await drill(bus, node, arguments.by, arguments.reason, console)
            if verb == "pair":
                return await pair(bus, node, arguments.by, arguments.seconds, console)
            if verb == "status":
                console.print(status_table(overview, node, datetime.now(UTC)))
            standing = overview.standing()
            console.print(alarm_table(standing) if standing else "no alarm stands")
            return 1 if any(alarm.active for _, _, alarm, _ in standing) else 0


async def _command(bus: Bus, overview: Overview, arguments: argparse.Namespace) -> int:
    wanted = [
        item
        for item in overview.standing()
        if item[0].name == arguments.rule
        and arguments.device in (None, item[0].device)
        and arguments.channel in (None, item[1])
    ]
    if len(wanted) != 1:
        which = f"{len(wanted)} alarms stand" if wanted else "no alarm stands"
        raise ConfigError("alarms", str(arguments.rule), f"{which} by this rule; name --device and --channel")
    topic, channel, alarm, revision = wanted[0]
    now = datetime.now(UTC)
    command = Acknowledge(
        correlation_id=new_boot(),
        action=ACTIONS[arguments.action],
        rule=topic.name,
        channel=channel,
        occurrence=alarm.occurrence,
        revision=revision,
        severity=alarm.severity,
        by=arguments.by,
        reason=arguments.reason,
        until=now + timedelta(minutes=arguments.minutes) if arguments.action == "shelve" else None,
        expires_at=now + timedelta(seconds=ANSWER_S),
    )
    target = Topic(topic.node, topic.device, "command", "alert")
    listening = asyncio.create_task(_drain(bus))
    try:
        reply = await bus.request(target, command, command.correlation_id, ANSWER_S)
    except TimeoutError:
        raise EmberwatchError(f"alert of node {topic.node} did not answer within {ANSWER_S:g} s") from None
    finally:
        listening.cancel()
    console.print(
        f"{arguments.action} {topic.device} {topic.name}: {reply.status}" + f" ({reply.reason})" * bool(reply.reason)
    )
    return 0 if reply.status == "done" else 1


async def _drain(bus: Bus) -> None:
    async for message in bus.messages():
        message.ack()


def main(arguments: argparse.Namespace, verb: str) -> int:
    result = 0

    async def guarded(_: asyncio.Event) -> None:
        nonlocal result
        result = await run(arguments, verb)

    return lifecycle.run(guarded, verb) or result


if __name__ == "__main__":
    verb = sys.argv[1] if len(sys.argv) > 1 else "status"
    parser = argparse.ArgumentParser(prog=f"emberwatch {verb}", description=__doc__)
    add_arguments(parser, verb)
    sys.exit(main(parser.parse_args(sys.argv[2:]), verb))
