"""A TCP proxy that cuts, black-holes and delays: what a network does to a connection."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
CHUNK = 65_536


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`. Every method returns when it has taken effect.

    Args:
        target: TCP port to forward to; it need not be open yet.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._accepted = threading.Semaphore(0)

    def __enter__(self) -> Self:
        self._thread.start()
        self._flowing.set()
        self._run(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """End every connection and refuse new ones, as an unplugged router's neighbour does."""
        self._run(self._close())

    def black_hole(self) -> None:
        """Let nothing through and tell nobody; connections stay open."""
        self._call(self._flowing.clear)

    def heal(self) -> None:
        """Undo `cut` and `black_hole`; what a black hole held goes on."""
        self._call(self._flowing.set)
        self._run(self._listen())

    def delay(self, seconds: float) -> None:
        """Deliver each byte this much later, in each direction."""
        self._delay_s = seconds

    def forget_connections(self) -> None:
        """From now on `wait_for_connection` counts."""
        while self._accepted.acquire(blocking=False):
            pass

    def wait_for_connection(self, timeout_s: float) -> None:
        """Wait until somebody connects anew (a black hole accepts, and says nothing)."""
        if not self._accepted.acquire(timeout=timeout_s):
            raise TimeoutError(f"no new connection within {timeout_s:g} s")

    def _run(self, task: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(timeout=10)

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self._run(call())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        connection.add_done_callback(lambda _: writer.transport.abort())  # also if cancelled before it has begun
        self._accepted.release()

    async def _forward(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        far_writer: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            far, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ways = [
                asyncio.ensure_future(self._pump(near, far_writer)),
                asyncio.ensure_future(self._pump(far, near_writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the target is closed: end the near side, as the target would have
        finally:
            for writer in (near_writer, far_writer):
                if writer is not None:
                    writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one direction. Chunks are stamped on arrival, so a delay costs no throughput."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def receive() -> None:
            while True:
                chunk = await reader.read(CHUNK)
                await chunks.put((self._loop.time(), chunk))
                if not chunk:
                    return

        receiving = asyncio.ensure_future(receive())
        try:
            with contextlib.suppress(OSError):
                while True:
                    arrived, chunk = await chunks.get()
                    await asyncio.sleep(max(0.0, arrived + self._delay_s - self._loop.time()))
                    await self._flowing.wait()
                    if not chunk:
                        return
                    writer.write(chunk)
                    await writer.drain()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
