"""What the ingest tests share: a writer on a fresh database, a layout, and messages of all kinds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import asyncpg
import pytest

from services.bus.counters import Counters
from services.bus.messages import Layout, format_time, write_fields
from services.bus.profiles import load_profile
from services.bus.topics import Topic
from services.ingest.layouts import Layouts
from services.ingest.rows import StoredLayout
from services.ingest.writer import Writer

BOOT = "00000000000000a1"
START = datetime(2016, 3, 31, 23, 59, tzinfo=UTC)
TOPIC = Topic("pi", "pack-1", "telemetry", "battery")


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Wait until the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.02)


class Ack:
    """Stands for the broker's message: counts acknowledgements."""

    def __init__(self) -> None:
        self.count = 0

    def ack(self) -> bool:
        self.count += 1
        return True


@cache
def battery_layout(cells: int = 3) -> Layout:
    return load_profile("battery").layout({"voltage": None, "current": None, "cell_voltages": cells})


def sample(seq: int, boot: str = BOOT, ts: datetime | None = None, **more: Any) -> dict[str, Any]:
    """Fields of a sample, one second apart."""
    fields: dict[str, Any] = {
        "boot": boot,
        "seq": seq,
        "ts": format_time(ts or START + timedelta(seconds=seq)),
        "mono": float(seq),
        "time_source": "ntp",
        "layout": battery_layout().hash,
        "channels": {"voltage": 355.2 + seq % 10, "current": -4.5, "cell_voltages": [3.701, 3.712, None]},
    }
    return fields | more


def payload(fields: dict[str, Any]) -> bytes:
    return write_fields(fields)


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.create_pool(postgres_url, min_size=1, max_size=3)
    yield opened
    opened.terminate()


@pytest.fixture
async def writer(postgres_url: str) -> AsyncIterator[Writer]:
    made = Writer(postgres_url, Counters(), backoff_max_s=0.2)
    yield made
    await made.close()


@pytest.fixture
async def layout(pool: Any) -> StoredLayout:
    """The layout of `sample`, stored."""
    stored, _ = await Layouts(pool).publish(Topic("pi", "pack-1", "layout", "battery"), battery_layout())
    return stored
