"""paho-mqtt driven by the event loop (no thread but for connecting): one session at one broker, for ever.

Reading stops when the listener is full, so the broker, not this process, holds what we cannot take. What is sent while
the broker is away goes out in order when it is back: first what it had not acknowledged, then what came meanwhile, so
that an old retained state never replaces a new one.
"""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.bus.counters import Counters
from services.bus.paho_client import INFLIGHT_MAX as INFLIGHT_MAX
from services.bus.paho_client import new_client
from services.bus.settings import BusSettings

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 15
ANSWER_S: Final = 10.0  # a broker that accepts the connection and says nothing
COMPLAIN_S: Final = 60.0
_TAKEN_OVER: Final = 0x8E


class Listener(Protocol):
    """Who is told what happens. All calls come from the event loop."""

    def on_connecting(self) -> tuple[str, bytes] | None:
        """A new attempt begins; returns topic and payload of its Last Will, if it leaves one."""

    def on_online(self) -> None:
        """Connected, and what was not acknowledged or had to wait is under way again."""

    def on_taken_over(self) -> None:
        """Another process connected under our client id."""

    def on_message(self, topic: str, payload: bytes, message: paho.MQTTMessage) -> bool:
        """A publication came; returns whether there is room for more."""

    def on_published(self) -> None:
        """The broker has one more of ours."""


class Connection:
    """The connection of one client id.

    Args:
        listener: who is told.
        filters: subscribed at each connection, at QoS 1.
        name: of the service, for log lines.
    """

    def __init__(
        self,
        settings: BusSettings,
        client_id: str,
        filters: Sequence[str],
        listener: Listener,
        counters: Counters,
        name: str,
    ) -> None:
        self._settings, self._client_id, self._filters = settings, client_id, list(filters)
        self._listener, self._counters, self._name = listener, counters, name
        self.number = 0  # of the connection: a packet id has a meaning on one only
        self.unacknowledged = self._received = 0
        self._backlog: deque[tuple[str, bytes, bool]] = deque()
        self._online, self._lost = asyncio.Event(), asyncio.Event()
        self._answered, self._settled = asyncio.Event(), asyncio.Event()
        self._socket: socket.socket | None = None
        self._calling_back = False
        self._own = ""  # filter without echo
        self._reading = self._writing = self._opening = self._leaving = self._fatal = self._was_online = False
        self._complained = float("-inf")
        self._task: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._paho = client = new_client(self._settings, self._client_id)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_socket_close = self._on_socket_close
        self._task = asyncio.create_task(self._stay_connected(), name=f"{self._name}.connection")

    async def stop(self, *, clean: bool, timeout_s: float = 5.0) -> None:
        """Wait until the broker has all that we published, then say goodbye (`clean`) or have the will published."""
        self._leaving = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.online:
            if clean:
                self.resume()  # acknowledgements come behind what we no longer take
                await self._drain(timeout_s)
            code = "Normal disconnection" if clean else "Disconnect with will message"
            self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, code))
            if self._socket is not None and self._paho.want_write():
                self._paho.loop_write()
        self._paho._sock_close()

    async def _drain(self, timeout_s: float) -> None:
        self._settled.clear()
        if self.unacknowledged:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._settled.wait()

    @property
    def online(self) -> bool:
        return self._online.is_set()

    async def wait_online(self) -> None:
        await self._online.wait()

    @property
    def address(self) -> str:
        return f"{self._settings.broker_host}:{self._settings.broker_port}"

    # --- out and in -------------------------------------------------------------------------------------------------

    def send(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish at QoS 1, now or when the broker is back."""
        self.unacknowledged += 1
        if self.online:
            self._paho.publish(topic, payload, 1, retain)
            self._flush()
        else:
            self._backlog.append((topic, payload, retain))

    def ack(self, mid: int, number: int) -> bool:
        """Acknowledge a message; False when the connection that it came on is gone."""
        if number != self.number or not self.online:
            return False
        done = self._paho.ack(mid, 1) == paho.MQTT_ERR_SUCCESS
        self._flush()
        return done

    def resume(self) -> None:
        """Read on after the listener was full."""
        if self._socket is not None and not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket, self._read)
            self._loop.call_soon(self._read)  # TLS may hold decrypted bytes that wake nobody

    def without_echo(self, topic: str) -> None:
        """Subscribe to a topic, too, but not to what we publish there ourselves. Call it before `start`."""
        self._own = topic

    def give_up(self) -> None:
        """Somebody else has our client id: stop fighting for it."""
        self._taken_over()
        self._drop()

    # --- connecting -------------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        pause = 0.1
        while not self._fatal:
            self._lost.clear()
            self._answered.clear()
            try:
                await self._open()
                self._attach()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await self._answered.wait()
                if self.online:
                    pause = 0.1
                    await self._watch()
                else:
                    self._drop()
            except Exception as error:  # whatever it is, a service without its broker must go on trying
                self._counters.add("connect_failed")
                self._complain("%s: broker %s: %s", self._name, self.address, error)
                self._drop()
            # jitter, so that a fleet does not come back in one instant
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, self._settings.reconnect_max_s)

    async def _open(self) -> None:
        """Name look-up, TCP, TLS and CONNECT block: a thread does them, which nobody waits for at the end."""
        will = self._listener.on_connecting()
        if will is not None:
            self._paho.will_set(*will, qos=1, retain=True)
        done: asyncio.Future[None] = self._loop.create_future()
        self._opening = True

        def settle(error: Exception | None) -> None:
            self._opening = False
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def connect() -> None:
            failure: Exception | None = None
            try:
                self._connect()
            except Exception as error:
                failure = error
            if self._leaving:
                self._paho._sock_close()
            with contextlib.suppress(RuntimeError):  # the loop is closed: we have left
                self._loop.call_soon_threadsafe(settle, failure)

        threading.Thread(target=connect, name=f"{self._name}.connect", daemon=True).start()
        await done

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = self._settings.receive_maximum
        host, port = self._settings.broker_host, self._settings.broker_port
        self._paho.connect(host, port, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)

    def _attach(self) -> None:
        connected = self._paho.socket()
        if connected is None:
            self._answered.set()
            return
        self._socket = cast(socket.socket, connected)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.resume()
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

    def _complain(self, message: str, *args: object) -> None:
        """Once a minute on the log, else for debugging: an outage may last for days."""
        level = logging.DEBUG
        if time.monotonic() - self._complained >= COMPLAIN_S:
            self._complained, level = time.monotonic(), logging.WARNING
        log.log(level, message, *args)

    # --- socket -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for _ in range(64):  # a bounded burst leaves the loop to others
                if self._socket is None or not self._reading:
                    return
                before = (self.number, self._received, self.unacknowledged)
                self._paho.loop_read()
                if before == (self.number, self._received, self.unacknowledged):
                    break
            self._flush()
            if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                self._loop.call_soon(self._read)
        except Exception:
            self._broken("reading")

    def _flush(self) -> None:
        """Write now. Not within a callback: paho would wait for itself when the write fails; _read() does it then."""
        if self._calling_back:
            return
        if self._socket is not None and self._paho.want_write() and not self._writing:
            self._paho.loop_write()
            if self._socket is not None and self._paho.want_write():
                self._writing = True
                self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        try:
            self._paho.loop_write()
            if self._socket is not None and not self._paho.want_write():
                self._writing = False
                self._loop.remove_writer(self._socket)
        except Exception:
            self._broken("writing")

    def _broken(self, doing: str) -> None:
        self._counters.add("connection_broken")
        log.exception("%s: %s from broker %s failed; connecting anew", self._name, doing, self.address)
        self._drop()

    def _drop(self) -> None:
        """Close the socket, if there is one. paho then calls _on_socket_close."""
        if not self._opening:
            self._paho._sock_close()

    # --- paho's callbacks (in the event loop; while `_opening`, in its thread) --------------------------------------

    def _on_connect(self, _c: paho.Client, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Any) -> None:
        if reason.is_failure:
            self._counters.add("connect_refused")
            self._complain("%s: broker %s refuses us: %s", self._name, self.address, reason)
            self._answered.set()
            return
        self.number += 1
        self._complained = float("-inf")
        self._counters.add("connections")
        self._counters.set("session_present", int(flags.session_present))
        filters = [(f, SubscribeOptions(qos=1, retainAsPublished=True)) for f in self._filters]
        if self._own:
            filters.append((self._own, SubscribeOptions(qos=1, retainAsPublished=True, noLocal=True)))
        if filters:
            self._paho.subscribe(filters)
        # paho sends again what was not acknowledged when this callback has returned; ours comes behind it
        self._loop.call_soon(self._go_online, self.number)

    def _go_online(self, number: int) -> None:
        if number != self.number or self._socket is None:
            return
        self._online.set()
        self._answered.set()
        backlog, self._backlog = self._backlog, deque()
        for topic, payload, retain in backlog:
            self._paho.publish(topic, payload, 1, retain)
        self._listener.on_online()
        self._flush()

    def _on_disconnect(
        self, _c: paho.Client, _u: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _p: Any
    ) -> None:
        if self._opening or self._leaving or not self._was_online:
            return
        if reason.value == _TAKEN_OVER:
            self._taken_over()
        log.warning("%s: connection to broker %s lost: %s", self._name, self.address, reason)

    def _taken_over(self) -> None:
        self._fatal = True
        self._listener.on_taken_over()

    def _on_socket_close(self, _c: paho.Client, _u: Any, _s: Any) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket, self._reading, self._writing = None, False, False
        self._was_online = self.online
        self._online.clear()
        for event in (self._lost, self._answered, self._settled):
            event.set()

    def _on_publish(self, _c: paho.Client, _u: Any, _mid: int, reason: ReasonCode, _p: Any) -> None:
        self.unacknowledged = max(0, self.unacknowledged - 1)
        if reason.is_failure:
            self._counters.add("publish_refused")
            self._complain("%s: broker %s refused a publication: %s", self._name, self.address, reason)
        if not self.unacknowledged:
            self._settled.set()
        self._listener.on_published()

    def _on_message(self, _c: paho.Client, _u: Any, message: paho.MQTTMessage) -> None:
        self._received += 1
        topic = message._topic.decode(errors="replace")
        self._calling_back = True
        try:
            room = self._listener.on_message(topic, bytes(message.payload), message)
        finally:
            self._calling_back = False
        if not room and self._reading:
            self._reading = False
            assert self._socket is not None
            self._loop.remove_reader(self._socket)
            self._counters.add("reading_paused")
