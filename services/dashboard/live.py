"""One MQTT connection a server process, whatever the number of tabs; and one View a tick, built for all of them.

An event loop in a thread of its own runs the Bus. Pages call `view()` from their threads; nothing here calls Streamlit.
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from services.bus.client import Bus, Message
from services.bus.errors import PayloadError
from services.bus.messages import new_boot, read
from services.bus.topics import Topic, topic_filter
from services.dashboard.settings import DashboardSettings
from services.dashboard.state import Key, World
from services.dashboard.view import Connection, ServiceRow, View, build, services

log = logging.getLogger(__name__)

KINDS: Final = ("telemetry", "score", "estimate", "alarm", "status", "layout")
TICK_S: Final = 0.8  # a view younger than this serves every tab


class LiveFeed:
    """Start it once a process; it reconnects for ever.

    Args:
        settings: the cloud broker, and how much to keep.
        clock: steady clock [s].
    """

    def __init__(self, settings: DashboardSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        self._world = World(settings.live_samples)
        self._lock = threading.Lock()
        self._views: dict[tuple[Key, float | None], tuple[float, View]] = {}
        self._bus: Bus | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cut_since: float | None = clock()
        self._connected_at: float | None = None
        self._failed: str | None = None
        self.received = self.rejected = 0
        self._thread = threading.Thread(target=self._run, name="dashboard.feed", daemon=True)

    def start(self) -> "LiveFeed":
        self._thread.start()
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Say goodbye to the broker and end the thread."""
        atexit.unregister(self.close)
        loop, bus = self._loop, self._bus
        if loop is not None and bus is not None and not loop.is_closed():
            loop.call_soon_threadsafe(bus.close_intake)
        if self._thread.is_alive():
            self._thread.join(6.0)

    # --- for the pages ----------------------------------------------------------------------------------------------

    def connection(self) -> Connection:
        s = self.settings
        broker = f"{s.broker_host}:{s.broker_port}"
        return Connection(broker, self._cut_since, self._connected_at, self.rejected, self._failed)

    def devices(self) -> list[Key]:
        """What can be chosen: devices that have a layout or a sample."""
        with self._lock:
            return self._world.measured()

    def services(self) -> list[ServiceRow]:
        """Every service of every node, and whether it lives."""
        with self._lock:
            return services(self._world, self._clock(), self._connected_at)

    def view(self, key: Key, window_s: float | None) -> View:
        """The device now. Tabs that ask within one tick get the same object."""
        with self._lock:
            now = self._clock()
            self._look(now)
            cached = self._views.get((key, window_s))
            if cached is not None and now - cached[0] < TICK_S:
                return cached[1]
            view = build(self._world, key, self.connection(), now, window_s)
            self._views = {k: v for k, v in self._views.items() if now - v[0] < 60}
            self._views[key, window_s] = (now, view)
            return view

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except Exception as error:  # the page must say so; a feed that ended in silence would look healthy
            log.exception("the live feed has ended")
            self._failed = f"{type(error).__name__}: {error}"
            self._cut_since = self._cut_since or self._clock()

    async def _listen(self) -> None:
        bus = Bus(
            self.settings,
            service="dashboard",
            subscribe=[topic_filter(kind=kind) for kind in KINDS],
            client_id=f"emberwatch-dashboard-{new_boot()}",  # several servers, or a restart, never take over
        )
        async with bus:
            self._loop, self._bus = asyncio.get_running_loop(), bus
            async for batch in bus.batches(tick_s=0.5):
                now, clock = self._clock(), datetime.now(UTC)
                with self._lock:
                    self._look(now)
                    for message in batch:
                        self._take(message, now, clock)
                for message in batch:
                    message.ack()
                bus.counters.set("received", self.received)
                await asyncio.sleep(0)  # a flood must not starve keep-alive

    def _take(self, message: Message, now: float, clock: datetime) -> None:
        self.received += 1
        try:
            topic = Topic.parse(message.topic)
            self._world.take(topic, read(topic, message.payload), now, clock)
        except PayloadError as error:
            self.rejected += 1
            if self._bus is not None:
                self._bus.counters.set("rejected", self.rejected)
            if self.rejected in (1, 10, 100) or self.rejected % 1000 == 0:
                log.warning("rejected (%d so far): %s", self.rejected, error)

    def _look(self, now: float) -> None:
        """Note when the connection came and went."""
        connected = self._bus is not None and self._bus.connected
        if connected and self._cut_since is not None:
            self._cut_since, self._connected_at = None, now
        elif not connected and self._cut_since is None:
            self._cut_since, self._connected_at = now, None
