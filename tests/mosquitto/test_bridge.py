"""What crosses the two bridges: everything that should, once, with its retained flag, and after a cut, too."""

import socket
import time
from collections import Counter

import pytest

from tests.fixtures_mosquitto import NODE, Broker, Brokers
from tests.mqtt import Client

OWN = f"emberwatch/v1/{NODE}/pack-1"
NODE_ITSELF = f"emberwatch/v1/{NODE}/node"
HEARTBEAT = "emberwatch/v1/cloud/cloud/status/ingest"
UP = [
    *(f"{OWN}/{kind}/x" for kind in ("telemetry", "estimate", "score", "event", "journal", "backfill")),
    *(f"{OWN}/{kind}/x" for kind in ("alarm", "layout", "request")),
    *(f"{NODE_ITSELF}/{kind}" for kind in ("status/sensor", "reply/sensor", "reply/inference", "reply/alert")),
]
DOWN = [f"{NODE_ITSELF}/command/alert", f"{OWN}/command/sensor", f"{NODE_ITSELF}/reply/ingest", HEARTBEAT]


def round_trip(local: Client, cloud: Client, word: str) -> None:
    """A message up, then one down, then one up: whatever went before has passed both bridges in both directions."""
    for step in range(3):
        sender, topic, receiver = (local, UP[0], cloud) if step != 1 else (cloud, DOWN[0], local)
        sender.publish(topic, f"{word}-{step}")
        receiver.wait_for(topic, f"{word}-{step}")


def test_each_kind_goes_one_way_once_and_nothing_comes_back(brokers: Brokers) -> None:
    with brokers.local.client() as local, brokers.gateway.client() as lan, brokers.cloud.client() as cloud:
        for client in (local, lan, cloud):
            client.subscribe("emberwatch/#")
        for topic in UP:
            local.publish(topic, "up")
        for topic in DOWN:
            cloud.publish(topic, "down")
        round_trip(local, cloud, "end")
        lan.wait_for(UP[0], "end-2")
        for client in (local, lan, cloud):
            seen = Counter((m.topic, m.payload.decode()) for m in client.messages if not m.payload.startswith(b"end"))
            assert seen == Counter([(t, "up") for t in UP] + [(t, "down") for t in DOWN])


def test_what_is_not_the_nodes_own_business_stays_where_it_is(brokers: Brokers) -> None:
    stays_below = [
        f"{NODE_ITSELF}/command/alert",
        "emberwatch/v1/attic/pack-1/telemetry/x",
        "emberwatch/v2/pi/a/b/c",
        HEARTBEAT,
    ]
    stays_above = ["emberwatch/v1/attic/node/command/alert", UP[0], f"{NODE_ITSELF}/reply/alert"]
    with (
        brokers.local.client() as local,
        brokers.cloud.client() as cloud,
        Client(brokers.cloud.port, brokers.users[NODE]) as node,
    ):
        local.subscribe("emberwatch/#")
        cloud.subscribe("emberwatch/#")
        for topic in stays_below:
            local.publish(topic, "below")
        cloud.publish(stays_above[0], "above")
        for topic in stays_above[1:]:
            node.publish(topic, "above")
        round_trip(local, cloud, "end")
        assert {m.topic for m in local.messages if m.payload == b"below"} == set(stays_below)
        assert {m.topic for m in cloud.messages if m.payload == b"above"} == set(stays_above)
        assert not [m.topic for m in local.messages if m.payload == b"above"]
        assert not [m.topic for m in cloud.messages if m.payload == b"below"]


@pytest.mark.parametrize(
    ("topic", "retained"), [(f"{OWN}/alarm/cell_spread", True), (f"{OWN}/telemetry/battery", False), (HEARTBEAT, True)]
)
def test_the_retained_flag_crosses_both_bridges(brokers: Brokers, topic: str, retained: bool) -> None:
    down = topic == HEARTBEAT
    with brokers.local.client() as local, brokers.cloud.client() as cloud:
        (cloud if down else local).publish(topic, "state", retain=retained)
        local.subscribe(DOWN[0])
        cloud.subscribe(UP[0])
        round_trip(local, cloud, "end")
    for broker in (brokers.local, brokers.gateway, brokers.cloud):
        with broker.client() as late:
            late.subscribe(topic)
            if retained:
                assert late.wait_for(topic, "state").retain
            else:
                late.subscribe("emberwatch/none")  # its answer follows what was retained of the first
                assert not [m for m in late.messages if m.topic == topic]


def test_a_cut_of_ten_seconds_loses_nothing_in_either_direction(brokers: Brokers) -> None:
    rate, seconds = 200, 10
    with brokers.local.client(client_id="service") as local, brokers.cloud.client(client_id="ingest") as cloud:
        cloud.subscribe(UP[0])
        local.subscribe(DOWN[0])
        local.publish(UP[0], "before")
        cloud.wait_for(UP[0], "before")
        brokers.link.cut()
        began = time.monotonic()
        for number in range(rate * seconds):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))  # the load's pace: 200 a second
            local.send(UP[0], f"{number}")
            if number % rate == 0:
                cloud.send(DOWN[0], f"{number}")
        brokers.link.heal()
        cloud.wait_for(UP[0], f"{rate * seconds - 1}", timeout_s=30)
        local.wait_for(DOWN[0], f"{rate * (seconds - 1)}", timeout_s=30)
        arrived = {m.payload.decode() for m in cloud.messages} - {"before"}  # twice, if the cut took its answer
        assert arrived == {f"{number}" for number in range(rate * seconds)}
        assert {int(m.payload) for m in local.messages} == set(range(0, rate * seconds, rate))


def test_a_black_hole_is_noticed_and_healed(brokers: Brokers) -> None:
    with brokers.local.client() as local, brokers.cloud.client() as cloud:
        cloud.subscribe(UP[0])
        brokers.link.forget_connections()
        brokers.link.black_hole()
        local.publish(UP[0], "into the hole")
        brokers.link.wait_for_connection(30)  # keepalive 10 s: the bridge gives up after 20 s and tries anew
        brokers.link.heal()
        cloud.wait_for(UP[0], "into the hole", timeout_s=30)


@pytest.mark.parametrize("role", ["local", "gateway", "cloud"])
def test_bridges_come_back_after_kill_9(brokers: Brokers, role: str) -> None:
    victim: Broker = getattr(brokers, role)
    victim.kill()
    victim.start()
    with brokers.local.client() as local, brokers.cloud.client() as cloud:
        local.subscribe(DOWN[0])
        cloud.subscribe(UP[0])
        brokers.wait_bridged()
        round_trip(local, cloud, "again")


def test_a_restart_of_all_three_keeps_what_is_queued_and_retained(brokers: Brokers) -> None:
    with brokers.cloud.client(client_id="ingest") as cloud:
        cloud.subscribe("emberwatch/#")
    brokers.link.cut()
    with brokers.local.client() as local, brokers.gateway.client() as lan:
        lan.subscribe(UP[1])
        for number in range(500):
            local.send(UP[0], f"{number}")
        local.publish(f"{OWN}/alarm/smoke", "active", retain=True)
        local.publish(UP[1], "last")
        lan.wait_for(UP[1], "last")  # the gateway holds it all
    for broker in (brokers.gateway, brokers.local, brokers.cloud):
        broker.restart()
    brokers.link.heal()
    with brokers.cloud.client(client_id="ingest") as cloud, brokers.local.client() as local:
        cloud.wait_for(UP[1], "last", timeout_s=30)
        assert {int(m.payload) for m in cloud.messages if m.topic == UP[0]} == set(range(500))
        local.subscribe(f"{OWN}/alarm/smoke")
        assert local.wait_for(f"{OWN}/alarm/smoke", "active").retain


def test_the_local_broker_is_quick_while_the_clouds_name_cannot_be_resolved(brokers: Brokers) -> None:
    brokers.gateway.stop()
    brokers.gateway.environment["EMBERWATCH_CLOUD_HOST"] = "cloud.invalid"
    brokers.gateway.start()
    with brokers.local.client() as local:
        local.subscribe(f"{OWN}/alarm/+")
        worst, began, number = 0.0, time.monotonic(), 0
        while time.monotonic() - began < 3:  # the bridge retries every 1 to 10 s
            sent = time.monotonic()
            local.publish(f"{OWN}/alarm/smoke", f"{number}")
            local.wait_for(f"{OWN}/alarm/smoke", f"{number}")
            worst = max(worst, time.monotonic() - sent)
            number += 1
    assert worst < 1.0
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("cloud.invalid", 1883)
