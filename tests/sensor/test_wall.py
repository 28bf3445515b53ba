"""What time it is, and who says so."""

import pytest

from services.sensor.wall import PeerClock, WallClock

TRUE = 1_795_000_000.0  # time since 1970 at mono 0


def test_a_clock_that_nothing_set_is_shown_and_not_known() -> None:
    wall = WallClock()
    wall.look(100.0, 35.0, "none")
    assert (wall.known, wall.source, wall.at(100.0)) == (False, "none", 35.0)


def test_the_systems_clock_is_followed_once_something_set_it() -> None:
    wall = WallClock()
    wall.look(100.0, 35.0, "none")
    wall.look(101.0, TRUE + 101, "ntp")
    assert (wall.known, wall.source, wall.at(99.0)) == (True, "ntp", TRUE + 99)
    wall.look(201.0, TRUE + 201.25, "none")  # the time server is away; the clock is a little off, not unknown
    assert (wall.source, wall.at(201.0)) == ("ntp", TRUE + 201.25)


def test_the_servers_heartbeat_tells_the_time_where_nothing_else_does() -> None:
    wall = WallClock()
    for mono in (10.0, 15.0, 20.0):
        wall.look(mono, mono, "none")
        wall.hear(mono + 0.08, TRUE + mono)
    wall.look(21.0, 21.0, "none")
    assert wall.source == "peer"
    assert wall.at(21.0) == pytest.approx(TRUE + 21, abs=0.1)
    wall.look(30.0, TRUE + 30, "ntp")
    assert (wall.source, wall.at(30.0)) == ("ntp", TRUE + 30)


def test_the_systems_own_time_goes_before_the_servers() -> None:
    wall = WallClock()
    for mono in (10.0, 15.0, 20.0):
        wall.hear(mono, TRUE + mono + 900)
        wall.look(mono, TRUE + mono, "rtc")
    assert (wall.source, wall.at(20.0)) == ("rtc", TRUE + 20)


def test_one_heartbeat_alone_may_be_old_and_is_not_believed() -> None:
    peer = PeerClock()
    peer.hear(10.0, TRUE - 86_400)
    assert peer.offset is None


def test_what_waited_in_a_queue_is_not_believed() -> None:
    peer = PeerClock()
    for i in range(20):  # an hour old, all at once
        peer.hear(10.0 + i / 100, TRUE - 3600 + 5 * i)
    assert peer.offset is None
    for mono in (15.0, 20.0):
        peer.hear(mono, TRUE + mono)
    assert peer.offset == TRUE


def test_of_live_heartbeats_the_least_delayed_counts() -> None:
    peer = PeerClock()
    for mono, delay in ((10.0, 0.3), (15.0, 0.05), (20.0, 0.4), (25.0, 0.2)):
        peer.hear(mono + delay, TRUE + mono)
    assert peer.offset == pytest.approx(TRUE - 0.05)


def test_the_server_corrects_a_steady_clock_that_drifts() -> None:
    peer = PeerClock()
    for n in range(2000):  # 100 ppm fast for three hours
        peer.hear(5 * n * 1.0001, TRUE + 5 * n)
    at = 5 * 1999 * 1.0001
    assert at + (peer.offset or 0) == pytest.approx(TRUE + 5 * 1999, abs=0.02)
