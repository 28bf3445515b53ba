"""The whole system on one machine: starts it in order, watches it, knows when it has settled. Wires only."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final, Self

import httpx
import yaml

from services.bus.client import Bus
from services.bus.errors import EmberwatchError, PayloadError
from services.bus.messages import Status, format_time, read
from services.bus.settings import BusSettings
from services.bus.topics import NODE_DEVICE, Topic, topic_filter
from services.sensor.recorded import open_recording
from services.up import plan
from services.up.ports import Ports
from services.up.postgres import EmbeddedPostgres
from services.up.processes import Child
from services.up.settings import UpSettings
from services.up.settle import unsettled
from services.up.summary import Run, summarize

log = logging.getLogger(__name__)
READY_S: Final = 90.0


class System:
    """`async with System(...) as system` is the running system; leaving it ends everything in order.

    Args:
        database_url: a PostgreSQL of your own; None = the embedded one.
        bridge_port: where the gateway finds the cloud broker, if not at its port (a proxy that cuts).
    """

    def __init__(
        self, settings: UpSettings, ports: Ports, database_url: str | None = None, bridge_port: int | None = None
    ) -> None:
        self.settings, self.ports, self._bridge_port = settings, ports, bridge_port or ports["cloud"]
        self.node = BusSettings.load().node
        self.children: dict[str, Child] = {}
        self.statuses: dict[str, Status] = {}
        self._began, self._boots = datetime.now(UTC), set[str]()
        self._database_url = database_url
        self._stack = contextlib.AsyncExitStack()
        self._news = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # first those who would call the orderly end of the others an alarm
        await asyncio.gather(*(c.stop() for name, c in self.children.items() if name.startswith("alert")))
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, ports, node = self.settings, self.ports, self.node
        (settings.data / "logs").mkdir(parents=True, exist_ok=True)
        known = {"node": node, "broker_port": ports["local"]}
        (settings.data / "up.yaml").write_text(yaml.safe_dump(known))  # `status` and `alarms` look here
        passwords = plan.read_or_draw(settings.data / "passwords", node)
        self.http = await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['ingest']}", timeout=60)
        )
        for process in plan.brokers(settings, ports, node, passwords, self._bridge_port):
            await self._spawn(process)
            await self._listening(process)
        url = self._database_url or await self._postgres()
        services = plan.services(settings, ports, node, passwords, url)
        await self._spawn(services["ingest"])
        await self._watch_statuses()
        for name in ("alert", "inference", "alert-cloud"):
            await self._spawn(services[name])
        await self._answering("ingest", "/healthz")
        for name in ("alert", "inference"):
            await self._online(name)
        await self._spawn(services["sensor"])
        if "dashboard" in services:
            await self._spawn(services["dashboard"])
            await self._listening(services["dashboard"])
        await self._online("sensor", replaying=settings.simulation is None)

    # --- processes --------------------------------------------------------------------------------------------------

    async def _spawn(self, process: plan.Process) -> None:
        child = self.children[process.name] = Child(process, self.settings.data / "logs")
        await child.start()
        watching = asyncio.create_task(child.watch(), name=f"watch {process.name}")
        watching.add_done_callback(self._watched)

        async def end() -> None:
            await child.stop()
            watching.cancel()

        self._stack.push_async_callback(end)

    def _watched(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self.failed.done():
            self.failed.set_exception(task.exception() or EmberwatchError("unknown"))

    async def _postgres(self) -> str:
        server = EmbeddedPostgres(self.settings.data / "cloud" / "postgres", self.ports["postgres"])
        await self._stack.enter_async_context(server)

        async def watch() -> None:
            while True:
                code = await server.wait()
                log.warning("postgres ended (%s), restarting it", code)
                await server.start()

        watching = asyncio.create_task(watch(), name="watch postgres")
        watching.add_done_callback(self._watched)

        async def end() -> None:
            watching.cancel()

        self._stack.push_async_callback(end)
        self.postgres = server
        return server.url

    # --- readiness --------------------------------------------------------------------------------------------------

    async def _until(self, what: str, child: str, check: Any) -> None:
        """Wait for `check()`; the child's death with a named error ends the waiting."""
        try:
            async with asyncio.timeout(READY_S):
                while not await check():
                    if self.failed.done():
                        await self.failed
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 0.1)
        except TimeoutError:
            words = self.children[child].last_words()
            raise EmberwatchError(f"{child}: {what} within {READY_S:g} s; its last words: {words}") from None

    async def _listening(self, process: plan.Process) -> None:
        async def check() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", process.listens)
            except OSError:
                return False
            writer.close()
            return True

        await self._until(f"not listening on port {process.listens}", process.name, check)

    async def _answering(self, child: str, path: str) -> None:
        async def check() -> bool:
            try:
                return (await self.http.get(path)).status_code == 200
            except httpx.HTTPError:
                return False

        await self._until(f"{path} does not answer", child, check)

    async def _online(self, service: str, *, replaying: bool = False) -> None:
        async def check() -> bool:
            status = self.statuses.get(service)
            return status is not None and status.state == "online" and (status.replay is not None or not replaying)

        await self._until("not online", service, check)

    async def _watch_statuses(self) -> None:
        settings = BusSettings(
            node=self.node,
            broker_port=self.ports["local"],
            data_dir=self.settings.data / "edge",
            session_expiry_s=0,
        )
        bus = Bus(
            settings,
            service="up",
            subscribe=[topic_filter(self.node, NODE_DEVICE, "status", "+")],
            announce=False,
        )
        await self._stack.enter_async_context(bus)

        async def listen() -> None:
            async for message in bus.messages():
                with contextlib.suppress(PayloadError):
                    topic = Topic.parse(message.topic)
                    content = read(topic, message.payload)
                    if isinstance(content, Status):
                        self._hear(topic.name, content)
                message.ack()

        listening = asyncio.create_task(listen(), name="up.listen")

        async def end() -> None:
            listening.cancel()

        self._stack.push_async_callback(end)

    def _hear(self, service: str, status: Status) -> None:
        known = self.statuses.get(service)
        if status.state == "offline" and known is not None and status.session != known.session:
            return  # the will of an earlier connection
        self.statuses[service] = status
        if status.boot is not None:
            self._boots.add(status.boot)
        self._news.set()

    # --- the end ----------------------------------------------------------------------------------------------------

    async def settling(self) -> AsyncIterator[list[str]]:
        """What is still under way, each second; ends when nothing was, twice, with news from every service between."""
        quiet_since: dict[str, Any] | None = None
        while True:
            if self.failed.done():
                await self.failed
            try:
                streams = (
                    await self.http.get("/api/v1/streams", params={"node": self.node, "limit": 100_000})
                ).raise_for_status()
                reasons = unsettled(self.statuses, streams.json(), self.node)
            except httpx.HTTPError as error:
                reasons = [f"ingest: {type(error).__name__}"]
            if reasons:
                quiet_since = None
                yield reasons
            else:
                heard = {name: s.ts for name, s in self.statuses.items()}
                if quiet_since is None:
                    quiet_since = heard
                elif all(heard[name] != ts for name, ts in quiet_since.items()):
                    return
                yield ["waiting for a second look"]
            await asyncio.sleep(1.0)

    async def summary(self) -> dict[str, Any]:
        """What this replay has brought, whatever else the database holds; to be asked for when all has settled."""
        node, device, boot = self.node, self.settings.device, self.statuses["sensor"].boot
        assert boot is not None
        recording = await asyncio.to_thread(open_recording, self.settings.replay, self.settings.map)
        times = [format_time(datetime.fromtimestamp(t, UTC)) for t in recording.times.tolist()]
        of_device = f"/api/v1/devices/{node}/{device}"
        kept = {"profile": recording.profile.name, "resolution": "raw", "channels": "", "limit": 20_000}
        stored: list[str] = []
        async for page in self._pages(f"{of_device}/samples", kept):
            stored += [ts for ts, of in zip(page["ts"], page["boot"], strict=True) if of == boot]
        scores = [item async for page in self._pages(f"{of_device}/scores", {"limit": 5000}) for item in page["items"]]
        history = self._pages("/api/v1/alarms/history", {"node": node, "limit": 5000})
        events = [item async for page in history for item in page["items"]]
        streams = (await self.http.get("/api/v1/streams", params={"node": node, "limit": 100_000})).raise_for_status()
        run = Run(device, boot, self._began, frozenset(self._boots))
        return summarize(run, times, stored, streams.json(), scores, events)

    async def _pages(self, path: str, query: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        after = None
        while True:
            response = await self.http.get(path, params=query | ({"after": after} if after else {}))
            if response.status_code == 404:  # nothing has come of this device
                return
            page = response.raise_for_status().json()
            yield page
            after = page["next"]
            if after is None:
                return
