"""A paho-mqtt client as we need it: MQTT 5, acknowledging by hand, with TLS and login, reconnecting by us."""

import ssl
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from services.bus.settings import BusSettings

INFLIGHT_MAX: Final = 2000  # of our own publications; the brokers' max_inflight_messages
CONNECT_TIMEOUT_S: Final = 5.0


class _TlsSocket(ssl.SSLSocket):
    """paho forgets a socket whose handshake fails: a wrong certificate would cost one at each attempt."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def new_client(settings: BusSettings, client_id: str) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True, reconnect_on_failure=False
    )
    client.max_inflight_messages_set(INFLIGHT_MAX)
    client.connect_timeout = CONNECT_TIMEOUT_S
    if settings.broker_username is not None:
        client.username_pw_set(settings.broker_username, settings.broker_password)
    if settings.broker_ca is not None:
        context = ssl.create_default_context(cafile=settings.broker_ca)
        context.sslsocket_class = _TlsSocket
        client.tls_set_context(context)
    return client
