"""A plain MQTT 5 client for tests: what it received, and waiting by condition instead of by sleeping."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

T = TypeVar("T")
TIMEOUT_S = 60.0  # a disk that is busy with others can hold a broker up for long


class Client:
    """Connected when the `with` block begins.

    Args:
        port: broker on 127.0.0.1.
        user: name and password, or None to be anonymous.
        client_id: set = the session outlives the connection for an hour.
        ca: certificate authority's file; set = TLS.
        timeout_s: how long to wait for the broker to accept the connection.
    Raises:
        ConnectionError: the broker refused the connection; the message is its reason.
    """

    def __init__(
        self,
        port: int,
        user: tuple[str, str] | None = None,
        *,
        client_id: str | None = None,
        ca: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._changed = threading.Condition()
        self._messages: list[paho.MQTTMessage] = []
        self._connected: ReasonCode | None = None
        self._acknowledged: dict[int, ReasonCode] = {}
        self._port, self._client_id, self._timeout_s = port, client_id, timeout_s
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, client_id or "", protocol=paho.MQTTv5)
        self._paho.max_inflight_messages_set(500)
        if user is not None:
            self._paho.username_pw_set(*user)
        if ca is not None:
            self._paho.tls_set(ca)

        def on_connect(client: object, data: object, flags: object, reason: ReasonCode, properties: object) -> None:
            self._note(lambda: setattr(self, "_connected", reason))

        def on_message(client: object, data: object, message: paho.MQTTMessage) -> None:
            self._note(lambda: self._messages.append(message))

        def on_publish(client: object, data: object, mid: int, reason: ReasonCode, properties: object) -> None:
            self._note(lambda: self._acknowledged.__setitem__(mid, reason))

        def on_subscribe(c: object, data: object, mid: int, reasons: list[ReasonCode], properties: object) -> None:
            self._note(lambda: self._acknowledged.__setitem__(mid, reasons[0]))

        self._paho.on_connect, self._paho.on_message = on_connect, on_message
        self._paho.on_publish, self._paho.on_subscribe = on_publish, on_subscribe

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600 if self._client_id else 0
        properties.ReceiveMaximum = 1000
        self._paho.connect("127.0.0.1", self._port, clean_start=self._client_id is None, properties=properties)
        self._paho.loop_start()
        try:
            self._wait(lambda: self._connected is not None, self._timeout_s, "connect")
        except TimeoutError:
            self.__exit__(None, None, None)
            raise
        assert self._connected is not None
        if self._connected.is_failure:
            self._paho.loop_stop()
            raise ConnectionError(str(self._connected))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def subscribe(self, *filters: str) -> None:
        for topic in filters:
            mid = self._paho.subscribe(topic, qos=1)[1]
            assert mid is not None
            self._wait(lambda mid=mid: mid in self._acknowledged, TIMEOUT_S, f"subscribe to {topic}")  # type: ignore[misc]

    def send(self, topic: str, payload: str | bytes = b"", *, retain: bool = False) -> int:
        """Publish at QoS 1 without waiting; returns the packet id for `acknowledged`."""
        return self._paho.publish(topic, payload, qos=1, retain=retain).mid

    def acknowledged(self, mid: int, timeout_s: float = TIMEOUT_S) -> str:
        """Wait for the broker's answer to `send`; returns its reason, `Success` or `Not authorized`."""
        self._wait(lambda: mid in self._acknowledged, timeout_s, f"publication {mid}")
        return str(self._acknowledged[mid])

    def publish(self, topic: str, payload: str | bytes = b"", *, retain: bool = False) -> str:
        """Publish at QoS 1 and wait for the broker's answer."""
        return self.acknowledged(self.send(topic, payload, retain=retain))

    @property
    def messages(self) -> list[paho.MQTTMessage]:
        """What has arrived, in order."""
        with self._changed:
            return list(self._messages)

    def wait_for(self, topic: str, payload: str | None = None, *, timeout_s: float = TIMEOUT_S) -> paho.MQTTMessage:
        """Wait until a message of this topic (and payload) has arrived; returns the first."""

        def found() -> paho.MQTTMessage | None:
            for message in self._messages:
                if message.topic == topic and (payload is None or message.payload.decode() == payload):
                    return message
            return None

        self._wait(lambda: found() is not None, timeout_s, f"{topic} {payload or ''}")
        message = found()
        assert message is not None
        return message

    def wait_count(self, count: int, *, timeout_s: float = TIMEOUT_S) -> list[paho.MQTTMessage]:
        """Wait until at least this many messages have arrived; returns them."""
        self._wait(lambda: len(self._messages) >= count, timeout_s, f"{count} messages")
        return self.messages

    def wait_until(
        self, found: Callable[[list[paho.MQTTMessage]], T | None], what: str, *, timeout_s: float = TIMEOUT_S
    ) -> T:
        """Wait until `found` makes something of what has arrived; returns it. `what` names it in the error."""
        result: list[T] = []

        def holds() -> bool:
            given = found(self._messages)
            result[:] = [] if given is None else [given]
            return given is not None

        self._wait(holds, timeout_s, what)
        return result[0]

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"{what}: not within {timeout_s:g} s; {len(self._messages)} messages so far")
