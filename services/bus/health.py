"""`python -m services.bus.health SERVICE`: exit 0 if the service's retained status is online and fresh, else 1.

For container health checks and scripts. SERVICE defaults to EMBERWATCH_SERVICE; node, broker and password are the
service's own settings.
"""

import contextlib
import os
import sys
import time
from datetime import UTC, datetime
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from services.bus.errors import EmberwatchError
from services.bus.messages import Status, read_as
from services.bus.settings import BusSettings
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic

TIMEOUT_S: Final = 5.0  # for the broker to answer and its retained message to come
MISSED_BEATS: Final = 3


def trouble(status: Status, now: datetime) -> str | None:
    """What is wrong with a service that says this; None = it is well. The same clock wrote `ts` and gives `now`."""
    if status.state != "online":
        return status.state
    if status.ts is None or status.heartbeat_s is None:
        return "its status has no time"
    age_s = (now - status.ts).total_seconds()
    if abs(age_s) > MISSED_BEATS * status.heartbeat_s:  # also after a clock that jumped back
        return f"last heartbeat {age_s:.0f} s ago"
    return None


def fetch(settings: BusSettings, topic: Topic, timeout_s: float = TIMEOUT_S) -> Status:
    """Read a retained status.

    Raises:
        ConnectionError: the broker refused us.
        OSError: the broker cannot be reached.
        PayloadError: the topic holds something else.
        TimeoutError: the broker did not answer, or retains no such status.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    refused: list[ReasonCode] = []
    payloads: list[bytes] = []

    def on_connect(client: paho.Client, data: object, flags: object, reason: ReasonCode, properties: object) -> None:
        if reason.is_failure:
            refused.append(reason)
        else:
            client.subscribe(str(topic), qos=1)

    client.on_connect = on_connect
    client.on_message = lambda client, data, message: payloads.append(bytes(message.payload))
    if settings.broker_username is not None:
        client.username_pw_set(settings.broker_username, settings.broker_password)
    if settings.broker_ca is not None:
        client.tls_set(str(settings.broker_ca))
    client.connect_timeout = timeout_s
    client.connect(settings.broker_host, settings.broker_port)
    deadline = time.monotonic() + timeout_s
    try:
        while not payloads and not refused and time.monotonic() < deadline:
            client.loop(0.2)
    finally:
        client.disconnect()
    if refused:
        raise ConnectionError(f"{settings.broker_host}:{settings.broker_port}: {refused[0]}")
    if not payloads:
        raise TimeoutError(f"no status on {topic} within {timeout_s:g} s")
    return read_as(topic, payloads[0], Status)


def main(arguments: list[str]) -> int:
    service = arguments[0] if arguments else os.environ.get("EMBERWATCH_SERVICE", "")
    problem: str | None
    try:
        settings = BusSettings.load()
        device = CLOUD_NODE if settings.node == CLOUD_NODE else NODE_DEVICE
        with contextlib.suppress(ValueError):
            topic = Topic(settings.node, device, "status", service)
            problem = trouble(fetch(settings, topic), datetime.now(UTC))
            print(f"{service}: {problem or 'online'}", flush=True)
            return 1 if problem else 0
        problem = "usage: python -m services.bus.health SERVICE"
    except (EmberwatchError, OSError) as error:
        problem = f"{service}: {error}"
    print(problem, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
