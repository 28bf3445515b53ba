"""Start and end of a service process: log format, signals, exit codes."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.bus.client import Bus
from services.bus.errors import EmberwatchError

log = logging.getLogger(__name__)

EXIT_ERROR = 2  # a named error: configuration, data folder, session taken over


def run(main: Callable[[asyncio.Event], Awaitable[None]], service: str) -> int:
    """Run `main(stop)` until it returns; SIGTERM and SIGINT set `stop`. Returns the exit code.

    An EmberwatchError is printed as one line and exits with 2; anything else is a bug and keeps its traceback.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {service} %(levelname)s %(message)s"
    )

    async def guarded() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await main(stop)

    code = 0
    try:
        asyncio.run(guarded())
    except* EmberwatchError as group:
        for error in _leaves(group):
            print(f"{service}: {error}", file=sys.stderr, flush=True)
        code = EXIT_ERROR
    return code


async def work(judging: Coroutine[Any, Any, None], bus: Bus, stop: asyncio.Event) -> None:
    """Work on what comes in until `stop` is set; then end the intake and wait until what has arrived is worked off."""
    task = asyncio.create_task(judging, name=f"{bus.service}.judge")
    stopping = asyncio.create_task(stop.wait(), name=f"{bus.service}.stop")
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    bus.close_intake()
    stopping.cancel()
    await task


def _leaves(group: BaseExceptionGroup[EmberwatchError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
