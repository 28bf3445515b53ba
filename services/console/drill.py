"""`./emberwatch drill`: asks the node for a test alarm and prints how long every hop took, and what did not answer."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console

from services.bus.client import Bus
from services.bus.errors import EmberwatchError, PayloadError
from services.bus.messages import Acknowledge, Event, Reply, new_boot, read
from services.bus.topics import NODE_DEVICE, Topic

DRILL: Final = "drill"  # the rule
ANSWER_S: Final = 5.0
LONGEST_S: Final = 100.0  # more than any drill lasts


async def drill(bus: Bus, node: str, by: str, reason: str | None, console: Console) -> int:
    """Returns 0 when every hop answered.

    Raises:
        EmberwatchError: the alert service does not answer, or does not end the drill.
    """
    began = time.monotonic()
    command = Acknowledge(
        correlation_id=new_boot(),
        action="drill",
        rule=DRILL,
        by=by,
        reason=reason,
        expires_at=datetime.now(UTC) + timedelta(seconds=ANSWER_S),
    )
    following = asyncio.create_task(_follow(bus, began, console))
    try:
        topic = Topic(node, NODE_DEVICE, "command", "alert")
        reply = await bus.request(topic, command, command.correlation_id, ANSWER_S)
        return await _ended(reply, following, console)
    except TimeoutError:
        raise EmberwatchError(f"alert of node {node} did not answer within {ANSWER_S:g} s") from None
    finally:
        following.cancel()


async def _ended(reply: Reply, following: asyncio.Task[str], console: Console) -> int:
    if reply.status != "done":
        console.print(f"drill {reply.status}: {reply.reason}")
        return 1
    try:
        report = await asyncio.wait_for(following, LONGEST_S)
    except TimeoutError:
        raise EmberwatchError(f"the drill did not end within {LONGEST_S:g} s") from None
    console.print(report)
    return 1 if "no answer" in report or report.startswith("a real alarm") else 0


async def _follow(bus: Bus, began: float, console: Console) -> str:
    """Print when the alarm reached us; return what the node says at the end."""
    raised = False
    async for message in bus.messages():
        message.ack()
        try:
            topic = Topic.parse(message.topic)
            content = read(topic, message.payload)
        except PayloadError:
            continue
        if not isinstance(content, Event) or topic.name != DRILL:
            continue
        if content.type == "drill":
            raised = True
            console.print(
                f"test alarm raised; here after {time.monotonic() - began:.2f} s. Look at lamp and display .."
            )
        elif content.type == "cleared" and raised:
            return content.reason or ""
    raise EmberwatchError("the connection to the broker ended")
