"""Whether the brokers answer, and what the services last said of themselves."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from services.bus.errors import PayloadError
from services.bus.health import fetch, trouble
from services.bus.messages import Status
from services.bus.settings import BusSettings
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, Topic
from services.doctor.check import Check, good, missing, warning

SERVICES: Final = ("sensor", "inference", "alert")
TIMEOUT_S: Final = 2.0
Fetch = Callable[[BusSettings, Topic, float], Status]


def look(settings: BusSettings, gateway_port: int, ask: Fetch = fetch) -> Iterator[Check]:
    """The local broker, each service on it, the gateway, and the server as the node hears of it."""
    local = broker("local broker", settings.broker_host, settings.broker_port)
    yield local
    if local.state == "good":
        for service in SERVICES:
            yield _service(
                settings,
                Topic(settings.node, NODE_DEVICE, "status", service),
                f"sudo journalctl -u emberwatch-{service}",
                ask,
            )
        yield _server(settings, ask)
    yield broker("gateway", "127.0.0.1", gateway_port)


def broker(name: str, host: str, port: int) -> Check:
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S):
            return good("brokers", name, f"answers at {host}:{port}")
    except OSError as error:
        unit = "emberwatch-local" if name == "local broker" else "emberwatch-gateway"
        repair = f"sudo systemctl start {unit}; sudo journalctl -u {unit}"
        return missing("brokers", name, f"{host}:{port}: {error.strerror or error}", repair)


def _service(settings: BusSettings, topic: Topic, repair: str, ask: Fetch) -> Check:
    try:
        wrong = trouble(ask(settings, topic, TIMEOUT_S), datetime.now(UTC))
    except (OSError, PayloadError) as error:
        wrong = str(error)
    if wrong:
        return missing("services", topic.name, wrong, f"sudo systemctl restart emberwatch-{topic.name}; {repair}")
    return good("services", topic.name, "online")


def _server(settings: BusSettings, ask: Fetch) -> Check:
    topic = Topic(CLOUD_NODE, CLOUD_NODE, "status", "ingest")
    try:
        wrong = trouble(ask(settings, topic, TIMEOUT_S), datetime.now(UTC))
    except TimeoutError:
        repair = "Wanted? Set EMBERWATCH_CLOUD_HOST in /etc/emberwatch/emberwatch.env. Alarms need no server."
        return warning("services", "server", "never heard of", repair)
    except (OSError, PayloadError) as error:
        wrong = str(error)
    if wrong:
        return warning(
            "services", "server", wrong, "Look at the network and at the server; the journal keeps what it has missed."
        )
    return good("services", "server", "online")
