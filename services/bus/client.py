"""One MQTT 5 connection. `async with Bus(...) as bus`, `async for batch in bus.batches()`, `message.ack()`.

paho-mqtt is driven by the event loop itself (no thread): reading stops when our queue is full, so the broker, not this
process, holds what we cannot take. Only connecting, which may block on a name server, runs in a thread.
"""

import asyncio
import contextlib
import logging
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.bus.clock import time_source
from services.bus.counters import Counters
from services.bus.errors import EmberwatchError, PayloadError, SessionTakenOverError
from services.bus.installation import installation_id
from services.bus.messages import MAX_PAYLOAD, Model, Replay, Reply, SampleId, Status, new_boot, read_as, write
from services.bus.settings import BusSettings
from services.bus.topics import Topic

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 15
UNACKNOWLEDGED_MAX: Final = 2000  # of our own publications; beyond it publish() waits
QUEUE_MAX: Final = 8000  # received and not yet taken; beyond it the socket is not read
_TAKEN_OVER: Final = 0x8E


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
    _bus: "Bus"
    _mid: int
    _connection: int

    def ack(self) -> bool:
        """Tell the broker to forget the message. Call it after the commit that stores it.

        Returns False when the connection that it came on is gone (packet ids are reused): it will be delivered again.
        """
        return self._bus._ack(self._mid, self._connection)


class Bus:
    """A service's connection to its broker: messages in and out, status heartbeat, Last Will, requests.

    Args:
        settings: where the broker is, and who we are.
        service: name in the status topic, `sensor`.
        subscribe: filters; the session outlives the connection, so what comes meanwhile is delivered later.
        node: node under which the status is published (default: settings.node).
        announce: False = an onlooker without status and Last Will.
    Raises:
        SessionTakenOverError: from batches() and messages(), when another process uses our client id.
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
        self.session = ""
        self.status_topic = Topic(self.node, "node" if self.node != "cloud" else "cloud", "status", service)
        self._settings, self._filters, self._announce = settings, list(subscribe), announce
        self._client_id = client_id or f"emberwatch-{self.node}-{service}"
        self._queue: deque[Message] = deque()
        self._arrived, self._room, self._online = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._closing = False
        self._fatal: EmberwatchError | None = None
        self._connection, self._unacknowledged = 0, 0
        self._socket: socket.socket | None = None
        self._reading = self._writing = False
        self._lost, self._settled = asyncio.Event(), asyncio.Event()
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._installation: str | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._installation = installation_id(self._settings.data_dir)
        s = self._settings
        self._paho = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(UNACKNOWLEDGED_MAX)
        client.connect_timeout = 5.0
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_socket_close = self._on_socket_close
        if s.broker_username is not None:
            client.username_pw_set(s.broker_username, s.broker_password)
        if s.broker_ca is not None:
            client.tls_set(str(s.broker_ca))
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name=f"{self.service}.connection"),
            asyncio.create_task(self._beat(), name=f"{self.service}.heartbeat"),
        ]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.connected:
            clean = kind is None or issubclass(kind, asyncio.CancelledError)
            if clean and self._announce:
                offline = Status(state="offline", session=self.session, installation=self._installation)
                self._send(str(self.status_topic), write(offline), retain=True)
                await self._drained(5.0)
            code = "Normal disconnection" if clean else "Disconnect with will message"
            self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, code))
            if self._socket is not None and self._paho.want_write():
                self._paho.loop_write()
        if self._socket is not None:
            self._on_socket_close(self._paho, None, self._socket)

    async def _drained(self, timeout_s: float) -> None:
        """Wait until the broker has all that we published, or has gone."""
        self._settled.clear()
        if self._unacknowledged and self.connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._settled.wait()

    @property
    def connected(self) -> bool:
        return self._online.is_set()

    async def wait_connected(self) -> None:
        await self._online.wait()

    # --- out --------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether publish() would return at once."""
        return self._room.is_set()

    async def publish(self, topic: Topic | str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1. While the broker is away it is queued; with too much unacknowledged it waits.

        Raises:
            PayloadError: longer than MAX_PAYLOAD (the broker would drop the connection, again and again).
        """
        if len(payload) > MAX_PAYLOAD:
            raise PayloadError(str(topic), f"payload of {len(payload)} bytes, limit {MAX_PAYLOAD}")
        while not self._room.is_set():
            await self._room.wait()
        self._send(str(topic), payload, retain=retain)

    def _send(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._unacknowledged += 1
        if self._unacknowledged >= UNACKNOWLEDGED_MAX:
            self._room.clear()
        self._paho.publish(topic, payload, 1, retain)
        self._flush()

    async def request(self, topic: Topic, command: Model, correlation_id: str, timeout_s: float) -> Reply:
        """Send a command and wait for its Reply. Raises TimeoutError. The reply topic must be in `subscribe`."""
        future = self._replies[correlation_id] = self._loop.create_future()
        try:
            await self.publish(topic, write(command))
            return await asyncio.wait_for(future, timeout_s)
        finally:
            self._replies.pop(correlation_id, None)

    # --- in ---------------------------------------------------------------------------------------------------------

    async def batches(self, maximum: int = 500, tick_s: float | None = None) -> AsyncIterator[list[Message]]:
        """What has arrived, at most `maximum`; an empty list after `tick_s` without anything."""
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
                except TimeoutError:
                    yield []
                continue
            batch = [self._queue.popleft() for _ in range(min(maximum, len(self._queue)))]
            if not self._reading:
                self._resume()
            yield batch

    async def messages(self) -> AsyncIterator[Message]:
        async for batch in self.batches():
            for message in batch:
                yield message

    def close_intake(self) -> None:
        """End batches() after what has arrived; what is not acknowledged stays with the broker."""
        self._closing = True
        self._arrived.set()

    def _ack(self, mid: int, connection: int) -> bool:
        if connection != self._connection or not self.connected:
            return False
        done = self._paho.ack(mid, 1) == paho.MQTT_ERR_SUCCESS
        self._flush()
        return done

    # --- status -----------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        return Status(
            state="online",
            session=self.session,
            installation=self._installation,
            boot=self.boot,
            version=package_version(),
            ts=datetime.now(UTC),
            time_source=time_source(),
            heartbeat_s=self._settings.heartbeat_s,
            counters=self.counters.as_dict(),
            positions=dict(self.positions),
            replay=self.replay,
            display=self.display,
        )

    def beat(self) -> None:
        """Publish the status now (it goes out each `heartbeat_s` anyway)."""
        if self.connected and self._announce:
            self._send(str(self.status_topic), write(self.status()), retain=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            self.beat()

    # --- connection -------------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        pause = 0.1
        while self._fatal is None:
            self._lost.clear()
            try:
                await asyncio.to_thread(self._connect)
            except (OSError, ValueError) as error:
                self.counters.add("connect_failed")
                log.debug("%s: broker %s:%d: %s", self.service, *self._address, error)
            else:
                self._attach()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):  # a broker that accepts and says nothing
                        await self._online.wait()
                if not self._online.is_set():
                    self._paho._sock_close()
                else:
                    pause = 0.1
                    await self._watch()
            # jitter, so that a fleet does not come back in one instant
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, self._settings.reconnect_max_s)

    @property
    def _address(self) -> tuple[str, int]:
        return self._settings.broker_host, self._settings.broker_port

    def _connect(self) -> None:
        """Blocking part: name look-up, TCP, TLS, and sending CONNECT."""
        self.session = new_boot()
        will = Status(state="offline", session=self.session, installation=self._installation)
        if self._announce:
            self._paho.will_set(str(self.status_topic), write(will), qos=1, retain=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = self._settings.receive_maximum
        self._paho.connect(*self._address, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)

    def _attach(self) -> None:
        connected = self._paho.socket()
        if connected is None:
            self._lost.set()
            return
        self._socket = cast(socket.socket, connected)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._resume()
        self._flush()

    async def _watch(self) -> None:
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._lost.wait()
            if not self._reading and self._socket is not None:
                self._paho._ping_t = 0.0  # while we do not read, a missing PINGRESP says nothing
            self._paho.loop_misc()
            self._flush()

    def _resume(self) -> None:
        if self._socket is not None and not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket, self._read)

    def _read(self) -> None:
        for _ in range(64):  # paho takes one packet a call; a bounded burst leaves the loop to others
            before = (len(self._queue), self._unacknowledged)
            self._paho.loop_read()
            if self._socket is None or before == (len(self._queue), self._unacknowledged):
                break
        self._flush()
        if len(self._queue) >= QUEUE_MAX and self._socket is not None and self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)
            self.counters.add("reading_paused")

    def _flush(self) -> None:
        if self._socket is None:
            return
        if self._paho.want_write() and not self._writing:
            self._paho.loop_write()
            if self._socket is not None and self._paho.want_write():
                self._writing = True
                self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        self._paho.loop_write()
        if self._socket is not None and not self._paho.want_write():
            self._writing = False
            self._loop.remove_writer(self._socket)

    # --- paho's callbacks (in the event loop) -----------------------------------------------------------------------

    def _on_connect(self, _c: paho.Client, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Any) -> None:
        if reason.is_failure:
            self.counters.add("connect_refused")
            log.error("%s: broker %s:%d refuses us: %s", self.service, *self._address, reason)
            self._lost.set()
            return
        self._connection += 1
        self.counters.add("connections")
        self.counters.set("session_present", int(flags.session_present))
        if self._filters:
            self._paho.subscribe([(f, SubscribeOptions(qos=1, retainAsPublished=True)) for f in self._filters])
        self._online.set()
        self.beat()

    def _on_disconnect(self, _c: paho.Client, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        if self._online.is_set():
            log.warning("%s: connection to broker %s:%d lost: %s", self.service, *self._address, reason)
        if reason.value == _TAKEN_OVER:
            self._fatal = SessionTakenOverError(
                f"client id {self._client_id} at {self._address[0]}:{self._address[1]}: session taken over; is a "
                f"second installation running under the node name {self.node}?"
            )
            self._arrived.set()
        self._online.clear()
        self._lost.set()

    def _on_socket_close(self, _c: paho.Client, _u: Any, _s: Any) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket, self._reading, self._writing = None, False, False
        self._online.clear()
        self._lost.set()
        self._settled.set()

    def _on_publish(self, _c: paho.Client, _u: Any, _mid: int, reason: ReasonCode, _p: Any) -> None:
        self._unacknowledged = max(0, self._unacknowledged - 1)
        if reason.is_failure:
            self.counters.add("publish_refused")
            log.error("%s: the broker refused a publication: %s", self.service, reason)
        if self._unacknowledged < UNACKNOWLEDGED_MAX // 2:
            self._room.set()
        if not self._unacknowledged:
            self._settled.set()

    def _on_message(self, _c: paho.Client, _u: Any, m: paho.MQTTMessage) -> None:
        message = Message(m.topic, bytes(m.payload), m.retain, m.dup, self, m.mid, self._connection)
        if self._replies and "/reply/" in m.topic and self._answer(message):
            return
        self._queue.append(message)
        self._arrived.set()

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
