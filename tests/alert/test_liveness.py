"""The cloud's watch over nodes."""

from typing import Any

from services.alert.engine import Engine, Now
from services.alert.rules import load_rules
from services.alert.ulid import ulid
from services.bus.messages import Status
from services.bus.settings import ROOT
from services.bus.topics import CLOUD_NODE, Topic
from tests.alert.builders import START, at


def cloud() -> Engine:
    engine = Engine(CLOUD_NODE, load_rules([ROOT / "rules" / "cloud.yaml"]), 0.0, cloud=True)
    engine.tick(Now(0.0, 1e9), True)
    return engine


def beat(engine: Engine, now: float, node: str, *services: str, state: str = "online") -> None:
    for service in services:
        fields: dict[str, Any] = {"state": state, "session": "c1", "heartbeat_s": 10.0}
        topic = Topic(node, "node" if node != CLOUD_NODE else CLOUD_NODE, "status", service)
        engine.take(topic, Status.model_validate(fields), Now(now, 1e9 + now))


def run(engine: Engine, first: int, last: int) -> list[tuple[float, str, str, str, str]]:
    """Tick each second: (time, device, rule, channel, type) of what changed."""
    ticks = ((t, engine.tick(Now(float(t), 1e9 + t), True)) for t in range(first, last))
    return [(t, c.device, c.rule, c.channel, c.type) for t, changes in ticks for c in changes]


def test_a_silent_node_is_one_alarm_under_its_name() -> None:
    engine = cloud()
    for now in (0.0, 10.0, 20.0):
        beat(engine, now, "pi-attic", "sensor", "alert")
        beat(engine, now, "pi-cellar", "sensor", "alert")
    for now in range(30, 120, 10):
        beat(engine, float(now), "pi-cellar", "sensor", "alert")
        found = run(engine, now, now + 10)
        if now == 50:
            assert found == [(51, "pi-attic", "node_silent", "node", "raised")]
        elif now == 80:
            assert [f[1:] for f in found] == [
                ("pi-attic", "service_silent", "sensor", "suppressed"),
                ("pi-attic", "service_silent", "alert", "suppressed"),
            ]
        else:
            assert found == []
    assert [a[0] for a in engine.register.annunciated()] == ["pi-attic"]


def test_a_node_that_comes_back_clears() -> None:
    engine = cloud()
    beat(engine, 0.0, "pi", "sensor")
    assert [f[4] for f in run(engine, 1, 40)] == ["raised"]
    beat(engine, 40.0, "pi", "sensor")
    assert [f[4] for f in run(engine, 40, 42)] == ["cleared"]


def test_a_dead_alert_service_alarms_in_the_cloud() -> None:
    engine = cloud()
    beat(engine, 0.0, "pi", "sensor", "alert")
    beat(engine, 5.0, "pi", "alert", state="offline")
    assert run(engine, 6, 8) == [(6, "pi", "service_silent", "alert", "raised")]


def test_the_cloud_alert_does_not_watch_itself_but_its_neighbours() -> None:
    engine = cloud()
    beat(engine, 0.0, CLOUD_NODE, "alert", "ingest")
    found = run(engine, 1, 90)
    assert [f[1:] for f in found] == [(CLOUD_NODE, "service_silent", "ingest", "raised")]


def test_ulids_sort_by_time_and_depend_on_every_part() -> None:
    ids = [ulid(at(t), "pi", "pack-1", "hot", t) for t in range(5)]
    assert ids == sorted(ids)
    assert all(len(i) == 26 for i in ids)
    assert len({ulid(START, "a", "bc"), ulid(START, "ab", "c"), ulid(START, "a", "b", "c")}) == 3


def test_a_viewer_that_leaves_is_no_silence() -> None:
    engine = cloud()
    beat(engine, 0.0, CLOUD_NODE, "dashboard")
    beat(engine, 1.0, CLOUD_NODE, "dashboard", state="offline")
    assert run(engine, 2, 200) == []
