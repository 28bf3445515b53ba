"""One MQTT 5 connection. `async with Bus(...) as bus`, `async for batch in bus.batches()`, `message.ack()`."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self

import paho.mqtt.client as paho

from services.bus.clock import time_source
from services.bus.connection import INFLIGHT_MAX, Connection
from services.bus.counters import Counters
from services.bus.errors import EmberwatchError, PayloadError, SessionTakenOverError
from services.bus.installation import installation_id
from services.bus.messages import (
    MAX_PAYLOAD,
    Model,
    Replay,
    Reply,
    SampleId,
    Status,
    TimeSource,
    new_boot,
    read_as,
    write,
)
from services.bus.settings import BusSettings
from services.bus.systemd import notify
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic

log = logging.getLogger(__name__)

UNACKNOWLEDGED_MAX: Final = INFLIGHT_MAX  # of our own publications; beyond it publish() waits
LOOK_S: Final = 0.5  # for our retained status to come at a new connection
STALL_MIN_S: Final = 5.0  # a consumer that takes longer over a batch (or than a heartbeat) hangs
QUEUE_MAX: Final = 8000  # received and not yet taken; beyond it the socket is not read


def package_version() -> str:
    try:
        return version("emberwatch")
    except PackageNotFoundError:
        return "0"


@dataclass(frozen=True, slots=True)
class Message:
    """One received publication."""

    topic: str
    payload: bytes
    retained: bool
    redelivered: bool
    _connection: Connection
    _mid: int  # 0: sent at QoS 0, nothing to acknowledge
    _number: int

    def ack(self) -> bool:
        """Tell the broker to forget the message. Call it after the commit that stores it.

        Returns False when the connection that it came on is gone (packet ids are reused): it will be delivered again.
        """
        return self._mid == 0 or self._connection.ack(self._mid, self._number)


class Bus:
    """A service's connection to its broker: messages in and out, status heartbeat, Last Will, requests.

    Args:
        settings: where the broker is, and who we are.
        service: name in the status topic, `sensor`.
        subscribe: filters; the session outlives the connection, so what comes meanwhile is delivered later.
        node: node under which the status is published (default: settings.node).
        announce: False = an onlooker without status and Last Will.
    Raises:
        SessionTakenOverError: from batches(), messages() and publish(), when another process uses our client id.
    """

    def __init__(
        self,
        settings: BusSettings,
        *,
        service: str,
        subscribe: Sequence[str] = (),
        counters: Counters | None = None,
        client_id: str | None = None,
        node: str | None = None,
        announce: bool = True,
    ) -> None:
        self.service, self.node = service, node or settings.node
        self.counters = counters or Counters()
        self.positions: dict[str, SampleId] = {}
        self.replay: Replay | None = None
        self.display: list[str] | None = None
        self.boot: str | None = None  # of the service's streams, if it publishes any
        self.told_time: TimeSource | None = None  # what set our time, where the service knows it better than the system
        self.session = ""
        device = CLOUD_NODE if self.node == CLOUD_NODE else NODE_DEVICE
        self.status_topic = Topic(self.node, device, "status", service)
        self._status_topic = str(self.status_topic)
        self._settings, self._announce = settings, announce
        self._client_id = client_id or f"emberwatch-{self.node}-{service}"
        self._connection = Connection(settings, self._client_id, subscribe, self, self.counters, service)
        self._queue: deque[Message] = deque()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._closing = self._paused = False
        self._fatal: EmberwatchError | None = None
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._started = datetime.now(UTC)
        self._sessions: deque[str] = deque(maxlen=1000)  # ours, of all connections so far
        self._watching = announce and client_id is None  # whether nobody else may have our status topic
        self._listens = any(paho.topic_matches_sub(f, self._status_topic) for f in subscribe)
        if self._watching and not self._listens:
            self._connection.without_echo(self._status_topic)
        self._looking: asyncio.TimerHandle | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._handed_out: float | None = None  # when the consumer got the batch that it works on, loop's clock [s]
        self._complained_of: float | None = None
        self._installation: str | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._installation = installation_id(self._settings.data_dir)
        self._connection.start()
        self._heartbeat = asyncio.create_task(self._beat(), name=f"{self.service}.heartbeat")
        self._tell_systemd("READY=1")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close_intake()
        self._tell_systemd("STOPPING=1")
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.gather(self._heartbeat, return_exceptions=True)
        clean = kind is None or issubclass(kind, asyncio.CancelledError)
        if clean and self.connected and self._announce:
            offline = Status(state="offline", session=self.session, installation=self._installation)
            self._connection.send(self._status_topic, write(offline), retain=True)
        await self._connection.stop(clean=clean)

    @property
    def connected(self) -> bool:
        return self._connection.online

    async def wait_connected(self) -> None:
        await self._connection.wait_online()

    # --- out --------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether publish() would return at once."""
        return self._room.is_set()

    async def publish(self, topic: Topic | str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1. While the broker is away it is queued; with too much unacknowledged it waits.

        Raises:
            PayloadError: longer than MAX_PAYLOAD (the broker would drop the connection, again and again).
            SessionTakenOverError: see Bus.
        """
        if len(payload) > MAX_PAYLOAD:
            raise PayloadError(str(topic), f"payload of {len(payload)} bytes, limit {MAX_PAYLOAD}")
        while not self._room.is_set():
            self._resume()  # what makes room comes behind the messages that nobody takes
            await self._room.wait()
        if self._fatal is not None:
            raise self._fatal
        self._send(str(topic), payload, retain=retain)

    def _send(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._connection.send(topic, payload, retain=retain)
        if self._connection.unacknowledged >= UNACKNOWLEDGED_MAX:
            self._room.clear()

    async def request(self, topic: Topic, command: Model, correlation_id: str, timeout_s: float) -> Reply:
        """Send a command and wait for its Reply. Raises TimeoutError. The reply topic must be in `subscribe`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[correlation_id] = future
        try:
            async with asyncio.timeout(timeout_s):
                await self.publish(topic, write(command))
                return await future
        finally:
            self._replies.pop(correlation_id, None)

    # --- in ---------------------------------------------------------------------------------------------------------

    async def batches(self, maximum: int = 500, tick_s: float | None = None) -> AsyncIterator[list[Message]]:
        """What has arrived, at most `maximum`; an empty list after `tick_s` without anything.

        Who does not come back for the next batch in time is no longer vouched for: see `stalled`.
        """
        while True:
            if self._fatal is not None:
                raise self._fatal
            if not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                try:
                    async with asyncio.timeout(tick_s):
                        await self._arrived.wait()
                    continue
                except TimeoutError:
                    batch = []
            else:
                batch = [self._queue.popleft() for _ in range(min(maximum, len(self._queue)))]
            if self._paused:
                self._resume()
            self._handed_out = asyncio.get_running_loop().time()
            try:
                yield batch
            finally:  # also when the consumer leaves the loop
                self._handed_out = None

    async def messages(self) -> AsyncIterator[Message]:
        async for batch in self.batches():
            for message in batch:
                yield message

    def close_intake(self) -> None:
        """End batches() after what has arrived; what is not acknowledged stays with the broker."""
        self._closing = True
        self._arrived.set()

    def _resume(self) -> None:
        self._paused = False
        self._connection.resume()

    # --- status -----------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        return Status(
            state="online",
            session=self.session,
            installation=self._installation,
            boot=self.boot,
            version=package_version(),
            ts=datetime.now(UTC),
            time_source=self.told_time or time_source(),
            heartbeat_s=self._settings.heartbeat_s,
            counters=self.counters.as_dict(),
            positions=dict(self.positions),
            replay=self.replay,
            display=self.display,
        )

    def beat(self) -> None:
        """Publish the status now (it goes out each `heartbeat_s` anyway)."""
        if not self.connected or not self._announce:
            return
        status = self.status()
        payload = write(status)
        if len(payload) > MAX_PAYLOAD:  # a fleet behind one node: the life sign matters more
            self.counters.add("status_shortened")
            payload = write(status.model_copy(update={"positions": {}}))
        self._send(self._status_topic, payload, retain=True)

    @property
    def stalled(self) -> bool:
        """Whether the consumer of batches() hangs: it has had its batch for longer than 5 s and than a heartbeat."""
        if self._handed_out is None:
            return False
        limit = max(STALL_MIN_S, self._settings.heartbeat_s)
        return asyncio.get_running_loop().time() - self._handed_out > limit

    def _vouch(self) -> None:
        """The regular heartbeat, withheld while the service does not do its work: its silence is seen by others."""
        if not self.stalled:
            self._tell_systemd("WATCHDOG=1")  # also while the broker is away: a restart would not bring it back
            self.beat()
            return
        self.counters.add("stalled")
        if self._complained_of != self._handed_out:
            self._complained_of = self._handed_out
            log.error("%s: the last batch is not worked off; no heartbeat until it is", self.service)

    def _tell_systemd(self, state: str) -> None:
        if self._announce:
            notify(state)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            self._vouch()

    # --- what the connection tells us -------------------------------------------------------------------------------

    def on_connecting(self) -> tuple[str, bytes] | None:
        self.session = new_boot()
        if not self._announce:
            return None
        will = Status(state="offline", session=self.session, installation=self._installation)
        return self._status_topic, write(will)

    def on_online(self) -> None:
        """The first time we say at once that we live; later we look first who said so last."""
        self._sessions.append(self.session)
        if self._watching and self._connection.number > 1:
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._looked)
        else:
            self._looked()

    def _looked(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._vouch()

    def on_taken_over(self) -> None:
        self._fatal = SessionTakenOverError(
            f"client id {self._client_id} at {self._connection.address}: session taken over; is a second installation "
            f"running under the node name {self.node}?"
        )
        self._arrived.set()
        self._room.set()

    def on_published(self) -> None:
        if self._connection.unacknowledged < UNACKNOWLEDGED_MAX // 2:
            self._room.set()

    def on_message(self, topic: str, payload: bytes, m: Any) -> bool:
        message = Message(topic, payload, m.retain, m.dup, self._connection, m.mid, self._connection.number)
        if self._replies and "/reply/" in topic and self._answer(message):
            return True
        if self._watching and topic == self._status_topic:
            self._look(payload)
            if not self._listens:
                message.ack()
                return True
        if self._closing:  # not acknowledged: it stays with the broker
            return True
        self._queue.append(message)
        self._arrived.set()
        self._paused = len(self._queue) >= QUEUE_MAX and self._room.is_set()
        return not self._paused

    def _look(self, payload: bytes) -> None:
        """At our own retained status, after a connection was lost.

        A session that is not ours, of later than our start: a second process runs under our name and has taken our
        session over. Mosquitto below 2.0.12 does not tell us so, it only closes the connection.
        """
        if self._looking is None:
            return
        try:
            status = read_as(self.status_topic, payload, Status)
        except PayloadError:
            return
        foreign = status.session not in self._sessions and status.ts is not None and status.ts > self._started
        if status.state == "online" and foreign:
            self._looking.cancel()
            self._looking = None
            asyncio.get_running_loop().call_soon(self._connection.give_up)
        else:
            self._looked()

    def _answer(self, message: Message) -> bool:
        try:
            reply = read_as(Topic.parse(message.topic), message.payload, Reply)
        except PayloadError:
            return False
        future = self._replies.get(reply.correlation_id)
        if future is None:
            return False
        if not future.done():
            future.set_result(reply)
        message.ack()
        return True
