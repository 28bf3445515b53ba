"""The world takes what is new, once, and is not fooled by what is old."""

from datetime import UTC, datetime, timedelta

import pytest

from services.bus.messages import Model, Score, Window
from services.bus.profiles import load_profile
from services.bus.topics import Topic
from services.dashboard.state import World
from services.dashboard.view import Connection, build
from tests.dashboard.conftest import BOOT, LAYOUT, OTHER_BOOT, START, alarm, offline, online, sample

KEY = ("pi", "pack-1")


@pytest.fixture
def world() -> World:
    return World(live_samples=100)


def hear(world: World, kind: str, name: str, message: Model, device: str = "pack-1", node: str = "pi") -> None:
    world.take(Topic(node, device, kind, name), message, 1.0, datetime.now(UTC))


def test_a_layout_alone_makes_a_device(world: World) -> None:
    hear(world, "alarm", "service_silent", alarm(), device="node")
    assert world.measured() == []
    hear(world, "layout", "battery", LAYOUT)
    assert world.measured() == [KEY]


def test_repeated_and_late_samples_are_counted_and_not_drawn(world: World) -> None:
    for message in (sample(0), sample(1), sample(1), sample(0), sample(2)):
        hear(world, "telemetry", "battery", message)
    feed = world.devices[KEY].profiles["battery"]
    assert [p.ts for p in feed.points] == [START.timestamp() + s for s in (0, 1, 2)]
    assert (feed.received, feed.late) == (3, 2)
    hear(world, "telemetry", "battery", sample(10, OTHER_BOOT))
    hear(world, "telemetry", "battery", sample(3))  # of the process before
    assert (len(feed.points), feed.late) == (4, 3)


def test_memory_is_bounded_and_vectors_are_kept_once(world: World) -> None:
    for seq in range(250):
        hear(world, "telemetry", "battery", sample(seq))
    points = world.devices[KEY].profiles["battery"].points
    assert len(points) == 100
    assert "cell_voltages" not in points[-1].values


def test_a_recording_that_begins_anew_begins_a_new_picture(world: World) -> None:
    for seq in (500, 501):
        hear(world, "telemetry", "battery", sample(seq))
    hear(world, "telemetry", "battery", sample(0, OTHER_BOOT))
    assert len(world.devices[KEY].profiles["battery"].points) == 1


def test_an_older_alarm_state_is_ignored_unless_its_publisher_lost_its_memory(world: World) -> None:
    hear(world, "alarm", "cell_over_voltage", alarm(5))
    alarms = world.devices[KEY].alarms
    hear(world, "alarm", "cell_over_voltage", alarm(4))
    assert alarms["cell_over_voltage"].revision == 5
    hear(world, "alarm", "cell_over_voltage", alarm(1, boot=OTHER_BOOT))
    assert alarms["cell_over_voltage"].revision == 5
    hear(world, "status", "alert", online(boot=OTHER_BOOT), device="node")
    hear(world, "alarm", "cell_over_voltage", alarm(1, boot=OTHER_BOOT))
    assert (alarms["cell_over_voltage"].revision, alarms["cell_over_voltage"].boot) == (1, OTHER_BOOT)


def test_a_stale_will_is_counted_and_ignored(world: World) -> None:
    hear(world, "status", "sensor", online("new"), device="node")
    hear(world, "status", "sensor", offline("old"), device="node")
    assert world.services["pi", "sensor"].status.state == "online"
    assert world.stale_wills == 1


def test_a_score_that_comes_twice_is_one_point(world: World) -> None:
    window = Window(boot=BOOT, first=0, last=127)
    for seq in (0, 1, 1):
        ts = START + timedelta(seconds=seq * 60)
        score = Score(
            boot=BOOT, seq=seq, ts=ts, mono=1.0, bundle="dyad@1", window=window, score=0.5 + seq, threshold=1.0
        )
        hear(world, "score", "dyad-int8", score)
    assert [p.score for p in world.devices[KEY].scores["dyad-int8"]] == [0.5, 1.5]


def test_a_device_shows_its_nodes_alarms_and_the_servers_about_its_node(world: World) -> None:
    hear(world, "layout", "battery", LAYOUT)
    hear(world, "alarm", "cell_spread", alarm())
    hear(world, "alarm", "service_silent", alarm(), device="node")
    hear(world, "alarm", "node_silent", alarm(), node="cloud", device="pi")
    hear(world, "alarm", "node_silent", alarm(), node="cloud", device="attic")
    assert {(owner, rule) for owner, rule, _ in world.alarms_of(KEY)} == {
        (KEY, "cell_spread"),
        (("pi", "node"), "service_silent"),
        (("cloud", "pi"), "node_silent"),
    }


def test_a_device_at_rest_is_due_when_it_said(world: World) -> None:
    hear(world, "layout", "battery", LAYOUT)
    hear(world, "telemetry", "battery", sample(0))
    feed = world.devices[KEY].profiles["battery"]
    assert feed.period_s == LAYOUT.period_s
    hear(world, "telemetry", "battery", sample(1).model_copy(update={"next_s": 10.0}))
    assert (feed.period_s, feed.rest_s) == (10.0, 10.0)
    hear(world, "telemetry", "battery", sample(2))
    assert (feed.period_s, feed.rest_s) == (LAYOUT.period_s, 10.0)  # points of the rest are no holes of the line


def test_a_node_s_own_computer_is_a_device(world: World) -> None:
    host = load_profile("host")
    layout = host.layout({"cpu_temperature": None, "under_voltage": None})
    hear(world, "layout", "host", layout, device="node")
    told = sample(0).model_copy(
        update={"layout": layout.hash, "channels": {"cpu_temperature": 51.8, "under_voltage": 0}}
    )
    hear(world, "telemetry", "host", told, device="node")
    view = build(world, ("pi", "node"), Connection("broker", None, 0.0), 1.5, None)
    assert [(tile.label, tile.value) for tile in view.tiles[:2]] == [
        ("Cpu temperature", "51.8"),
        ("Under voltage", "0"),
    ]
