"""The feed on a real broker: what it hears, what it survives, what it costs."""

import socket

from services.bus.messages import write
from services.dashboard.live import LiveFeed
from services.dashboard.settings import DashboardSettings
from tests.dashboard.conftest import LAYOUT, PREFIX, alarm, online, sample, until, wait_sample, wait_subscribed
from tests.fixtures_mosquitto import Broker

KEY = ("pi", "pack-1")
TELEMETRY, STATUS = f"{PREFIX}/pack-1/telemetry/battery", f"{PREFIX}/node/status"


def test_messages_become_a_view(broker: Broker, feed: LiveFeed) -> None:
    with broker.client() as client:
        client.publish(f"{PREFIX}/pack-1/layout/battery", write(LAYOUT), retain=True)
        client.publish(f"{STATUS}/alert", write(online(display=["GREEN OK"])), retain=True)
        client.publish(f"{PREFIX}/pack-1/alarm/cell_over_voltage", write(alarm()), retain=True)
        for seq in range(3):
            client.publish(TELEMETRY, write(sample(seq)))
    wait_sample(feed, 2)
    assert feed.devices() == [KEY]
    view = feed.view(KEY, 900.0)
    assert (view.banner.word, view.fresh.state, view.display) == ("HIGH ALARM", "live", ["GREEN OK"])
    assert view.recorded == "2021-05-05 09:10:02 UTC"
    assert {panel.key for panel in view.panels} == {"electric", "temperature", "spread", "soc", "cells"}


def test_what_cannot_be_read_is_counted_and_stops_nothing(broker: Broker, feed: LiveFeed) -> None:
    with broker.client() as client:
        for bad in (b"{", b"\xff\x00", b'{"boot": 1}', b"[]", b"", b"NaN"):
            client.publish(TELEMETRY, bad)
        client.publish(f"{PREFIX}/PACK/telemetry/battery", write(sample(0)))
        client.publish(TELEMETRY, write(sample(1)))
        until(lambda: feed.devices() == [KEY])
        assert feed.connection().rejected == 7
        client.subscribe("emberwatch/v1/cloud/cloud/status/dashboard")
        until(lambda: any(b'"rejected":7' in m.payload for m in client.messages))


def test_a_broker_that_goes_and_comes_is_said_and_survived(broker: Broker, feed: LiveFeed) -> None:
    with broker.client() as client:
        client.publish(TELEMETRY, write(sample(0)))
    until(feed.devices)
    broker.kill()
    until(lambda: feed.connection().cut_since is not None)
    view = feed.view(KEY, None)
    assert (view.fresh.state, view.banner.word) == ("stale", "UNKNOWN")
    assert "no connection to the broker" in view.banner.text
    broker.start()
    received = feed.received
    until(lambda: feed.received > received)  # its own status: it has subscribed again
    with broker.client() as client:
        client.publish(TELEMETRY, write(sample(1)))
    wait_sample(feed, 1)
    until(lambda: feed.view(KEY, None).fresh.state == "live")


def test_tabs_share_one_view_a_tick(broker: Broker, settings: DashboardSettings) -> None:
    now = 100.0
    feed = LiveFeed(settings, clock=lambda: now).start()
    try:
        wait_subscribed(feed)
        with broker.client() as client:
            client.publish(TELEMETRY, write(sample(0)))
        until(feed.devices)
        first = feed.view(KEY, 900.0)
        assert feed.view(KEY, 900.0) is first
        assert feed.view(KEY, 300.0) is not first
        now += 1.0
        assert feed.view(KEY, 900.0) is not first
    finally:
        feed.close()


def test_without_a_broker_it_waits_and_tells_how_long(settings: DashboardSettings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        feed = LiveFeed(settings.model_copy(update={"broker_port": unused.getsockname()[1]})).start()
        try:
            until(lambda: feed._bus is not None and feed._bus.counters["connect_failed"] > 0)
            assert feed.connection().cut_since is not None
            assert feed.devices() == []
        finally:
            feed.close()


def test_closing_says_goodbye(broker: Broker, feed: LiveFeed) -> None:
    with broker.client() as client:
        client.subscribe("emberwatch/v1/cloud/cloud/status/dashboard")
        until(lambda: any(b'"online"' in m.payload for m in client.messages))
        feed.close()
        until(lambda: any(b'"offline"' in m.payload for m in client.messages))
