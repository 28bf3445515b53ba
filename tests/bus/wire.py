"""Connections of tests to a real broker: short names for being connected, waiting, taking messages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.bus.client import Bus, Message
from services.bus.settings import BusSettings
from services.bus.topics import Topic

TOPIC = Topic("pi", "pack-1", "event", "test")
STATUS = "emberwatch/v1/pi/node/status/{}"
PROCESS = """
import asyncio, sys
from pathlib import Path
from services.bus.client import Bus
from services.bus.settings import BusSettings

async def main():
    settings = BusSettings(broker_port=int(sys.argv[1]), data_dir=Path(sys.argv[2]), node="pi", heartbeat_s=1000)
    try:
        async with Bus(settings, service="sensor") as bus:
            await bus.wait_connected()
            print(bus.session, flush=True)
            if sys.argv[3] == "raise":
                raise RuntimeError("a bug")
            await asyncio.sleep(1000)
    except RuntimeError:
        sys.exit(3)

asyncio.run(main())
"""


def at(port: int, folder: Path) -> BusSettings:
    return BusSettings(broker_port=port, data_dir=folder, node="pi", heartbeat_s=0.2, reconnect_max_s=0.2)


@asynccontextmanager
async def connected(settings: BusSettings, service: str, *filters: str) -> AsyncIterator[Bus]:
    async with Bus(settings, service=service, subscribe=filters) as bus:
        await online(bus)
        yield bus


async def online(bus: Bus) -> None:
    async with asyncio.timeout(20):
        await bus.wait_connected()


async def offline(bus: Bus) -> None:
    async with asyncio.timeout(20):
        while bus.connected:  # noqa: ASYNC110 - it has an event for being connected only
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)


async def take(bus: Bus, count: int, *, ack: bool = True) -> list[Message]:
    """The next `count` messages."""
    found: list[Message] = []
    async with asyncio.timeout(30):
        async for batch in bus.batches(count - len(found)):
            for message in batch:
                found.append(message)
                if ack:
                    message.ack()
            if len(found) >= count:
                break
    return found


def numbers(messages: list[Message]) -> list[int]:
    return [int(m.payload) for m in messages]
