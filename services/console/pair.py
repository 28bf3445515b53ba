"""`./emberwatch pair`: opens the time in which a phone may pair with a node that has no display and button."""

from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console

from services.bus.client import Bus
from services.bus.errors import EmberwatchError
from services.bus.messages import Pair, new_boot
from services.bus.topics import NODE_DEVICE, Topic

ANSWER_S: Final = 5.0


async def pair(bus: Bus, node: str, by: str, seconds: float, console: Console) -> int:
    """Returns 0 when the window is open. Raises EmberwatchError: the alert service does not answer."""
    expires_at = datetime.now(UTC) + timedelta(seconds=ANSWER_S)
    command = Pair(correlation_id=new_boot(), action="pair", seconds=seconds, by=by, expires_at=expires_at)
    topic = Topic(node, NODE_DEVICE, "command", "alert")
    try:
        reply = await bus.request(topic, command, command.correlation_id, ANSWER_S)
    except TimeoutError:
        raise EmberwatchError(f"alert of node {node} did not answer within {ANSWER_S:g} s") from None
    if reply.status != "done":
        console.print(f"pair {reply.status}: {reply.reason}")
        return 1
    console.print(
        f"for {seconds:g} s a phone may pair with {node}: connect to it and write to Acknowledge (docs/ble.md)"
    )
    return 0
