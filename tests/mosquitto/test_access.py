"""Who may do what: passwords, ACL, TLS."""

from pathlib import Path

import pytest
import trustme

from tests.fixtures_mosquitto import NODE, Broker, Brokers, free_ports
from tests.mqtt import Client

WRITES = [
    (NODE, f"emberwatch/v1/{NODE}/pack-1/telemetry/battery", True),
    (NODE, "emberwatch/v1/attic/pack-1/telemetry/battery", False),
    (NODE, "emberwatch/v1/attic/node/command/alert", False),
    (NODE, "emberwatch/v1/cloud/cloud/status/ingest", False),
    (NODE, "emberwatch/v1/pi2/pack-1/telemetry/battery", False),
    ("ingest", f"emberwatch/v1/{NODE}/node/command/sensor", True),
    ("ingest", f"emberwatch/v1/{NODE}/node/reply/ingest", True),
    ("ingest", f"emberwatch/v1/{NODE}/pack-1/telemetry/fire", False),
    ("ingest", "emberwatch/v1/cloud/cloud/status/ingest", True),
    ("alert", "emberwatch/v1/cloud/pi/alarm/silence", True),
    ("alert", f"emberwatch/v1/{NODE}/node/command/inference", False),
    ("dashboard", "emberwatch/v1/cloud/cloud/status/dashboard", True),
    ("dashboard", f"emberwatch/v1/{NODE}/node/command/alert", False),
]


def test_cloud_users_write_only_what_is_theirs(brokers: Brokers) -> None:
    with brokers.cloud.client() as reader:
        reader.subscribe("emberwatch/#")
        for user, topic, allowed in WRITES:
            with Client(brokers.cloud.port, brokers.users[user]) as writer:
                assert writer.publish(topic, user) == ("Success" if allowed else "Not authorized"), (user, topic)
        reader.wait_for(WRITES[-2][1])
        arrived = [(m.payload.decode(), m.topic, True) for m in reader.messages]
        assert arrived == [each for each in WRITES if each[2]]


def test_a_node_reads_its_own_commands_and_the_servers_heartbeat_only(brokers: Brokers) -> None:
    mine = [f"emberwatch/v1/{NODE}/pack-1/command/sensor", f"emberwatch/v1/{NODE}/node/reply/ingest"]
    mine += ["emberwatch/v1/cloud/cloud/status/ingest"]
    foreign = ["emberwatch/v1/attic/node/command/sensor", "emberwatch/v1/attic/node/reply/ingest"]
    with brokers.cloud.client() as ingest, Client(brokers.cloud.port, brokers.users[NODE]) as node:
        node.subscribe("#")
        for topic in foreign + mine:
            ingest.publish(topic)
        with Client(brokers.cloud.port, brokers.users["attic"]) as attic:
            attic.publish("emberwatch/v1/attic/pack-1/telemetry/battery")
        ingest.publish(mine[0], "end")
        node.wait_for(mine[0], "end")
        assert [m.topic for m in node.messages] == [*mine, mine[0]]


def test_a_reader_in_the_home_network_reads_all_and_writes_nothing(brokers: Brokers) -> None:
    topic = f"emberwatch/v1/{NODE}/pack-1/alarm/smoke"
    with brokers.local.client() as local, brokers.gateway.client() as lan:
        for client in (local, lan):
            client.subscribe("emberwatch/#")
        assert lan.publish(topic, "forged", retain=True) == "Not authorized"
        assert lan.publish(f"emberwatch/v1/{NODE}/node/command/alert", "forged") == "Not authorized"
        local.publish(topic, "true")
        lan.wait_for(topic, "true")
        for client in (local, lan):
            assert [m.payload for m in client.messages] == [b"true"]


def test_no_password_or_a_wrong_one_is_refused(brokers: Brokers) -> None:
    for port, name in ((brokers.gateway.port, "lan"), (brokers.cloud.port, NODE)):
        for user in (None, (name, "wrong"), ("stranger", "secret-stranger")):
            with pytest.raises(ConnectionError, match="Not authorized"), Client(port, user):
                pass


def test_the_cloud_connection_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    ca, chain, key = (tmp_path / name for name in ("ca.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca))
    certificate.private_key_pem.write_to_path(str(key))
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    local, lan, port, tls = free_ports(4)
    server = {"EMBERWATCH_CLOUD_USERS": f"{NODE}:n ingest:i", "EMBERWATCH_CLOUD_PORT": str(port)}
    server |= {"EMBERWATCH_SERVER_CERT": str(chain), "EMBERWATCH_SERVER_KEY": str(key), "EMBERWATCH_TLS_PORT": str(tls)}
    node = {"EMBERWATCH_NODE": NODE, "EMBERWATCH_LOCAL_PORT": str(local), "EMBERWATCH_LAN_PORT": str(lan)}
    node |= {"EMBERWATCH_CLOUD_HOST": "127.0.0.1", "EMBERWATCH_CLOUD_PORT": str(tls)}
    node |= {"EMBERWATCH_CLOUD_CA": str(ca), "EMBERWATCH_CLOUD_PASSWORD": "n"}
    cloud = Broker("cloud", port, server, tmp_path)
    running = [cloud, Broker("local", local, node, tmp_path), Broker("gateway", lan, node, tmp_path)]
    try:
        for broker in running:
            broker.start()
        with Client(port, ("ingest", "i")) as ingest, running[1].client() as sensor:
            ingest.subscribe("emberwatch/#")
            topic = f"emberwatch/v1/{NODE}/node/status/sensor"
            sensor.publish(topic, "online", retain=True)
            assert ingest.wait_for(topic, "online")
            with Client(tls, (NODE, "n"), ca=str(ca)) as other:
                other.publish(topic, "offline")
            assert ingest.wait_for(topic, "offline")
        with pytest.raises((OSError, TimeoutError)), Client(tls, ("ingest", "i"), timeout_s=2):
            pass  # without TLS
        with pytest.raises(ConnectionError, match="Not authorized"), Client(tls, ca=str(ca)):
            pass  # without a password
    finally:
        for broker in running:
            broker.kill()
