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


def beat(
    engine: Engine, now: float, node: str, *services: str, state: str = "online", said: float | None = None
) -> None:
    """A status comes; `said`: it is the retained copy of one of then."""
    for service in services:
        ts = at(now if said is None else said)
        fields: dict[str, Any] = {"state": state, "session": "c1", "heartbeat_s": 10.0, "ts": ts}
        topic = Topic(node, "node" if node != CLOUD_NODE else CLOUD_NODE, "status", service)
        engine.take(topic, Status.model_validate(fields), Now(now, 1e9 + now))


def run(engine: Engine, first: int, last: int) -> list[tuple[float, str, str, str, str]]:
    """Tick each second: (time, device, rule, channel, type) of what changed."""
    ticks = ((t, engine.tick(Now(float(t), 1e9 + t), True)) for t in range(first, last))
    return [(t, c.device, c.rule, c.channel, c.type) for t, changes in ticks for c in changes]


def of_node(found: list[tuple[float, str, str, str, str]]) -> list[tuple[float, str]]:
    """(time, type) of the alarm node_silent."""
    return [(f[0], f[4]) for f in found if f[2] == "node_silent"]


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
    beat(engine, -10.0, "pi", "sensor")
    beat(engine, 0.0, "pi", "sensor")
    assert [f[4] for f in run(engine, 1, 40)] == ["raised"]
    beat(engine, 40.0, "pi", "sensor")
    assert [f[4] for f in run(engine, 40, 42)] == ["cleared"]


def test_a_retained_copy_at_a_new_subscription_is_no_sign_of_life() -> None:
    engine = cloud()
    beat(engine, 0.0, "pi", "sensor")
    beat(engine, 10.0, "pi", "sensor")
    assert of_node(run(engine, 11, 60)) == [(41, "raised")]
    beat(engine, 60.0, "pi", "sensor", said=10.0)  # the cloud's broker was restarted
    assert of_node(run(engine, 60, 200)) == []


def test_a_restart_of_the_watch_leaves_a_dead_node_s_alarm_as_it_is() -> None:
    before = cloud()
    beat(before, 0.0, "pi", "sensor")
    beat(before, 10.0, "pi", "sensor")
    assert of_node(run(before, 11, 60)) == [(41, "raised")]
    (occurrence,) = [m.occurrence for *_, m in before.register.annunciated()]
    after = cloud()
    assert after.restore(before.to_dict(), Now(0.0, 1e9 + 60)) == []
    beat(after, 0.5, "pi", "sensor", said=10.0)
    assert of_node(run(after, 1, 200)) == []
    assert [m.occurrence for *_, m in after.register.annunciated()] == [occurrence]
    beat(after, 200.0, "pi", "sensor")
    assert of_node(run(after, 200, 202)) == [(200, "cleared")]


def test_a_node_that_is_dead_when_the_watch_begins_alarms_after_the_start_delay() -> None:
    engine = cloud()
    beat(engine, 0.5, "pi", "sensor", said=-1e6)
    assert of_node(run(engine, 1, 200)) == [(61, "raised")]


def test_a_node_s_service_is_silent_after_two_beats_and_five_seconds_at_least() -> None:
    found = []
    for every_s in (5.0, 1.0):
        engine = Engine("pi", load_rules([ROOT / "rules" / "node.yaml"]), 0.0)
        engine.tick(Now(0.0, 1e9), True)
        topic = Topic("pi", "node", "status", "inference")
        for now in (0.0, every_s):
            fields = {"state": "online", "session": "c1", "heartbeat_s": every_s, "ts": at(now)}
            engine.take(topic, Status.model_validate(fields), Now(now, 1e9 + now))
        found += [f[0] for f in run(engine, 2, 29) if f[3] == "inference"]
    assert found == [5 + 10 + 1, 1 + 5 + 1]


def test_a_restart_of_a_node_s_alert_leaves_a_hung_service_s_alarm_as_it_is() -> None:
    def node() -> Engine:
        engine = Engine("pi", load_rules([ROOT / "rules" / "node.yaml"]), 0.0)
        engine.tick(Now(0.0, 1e9), True)
        return engine

    before, after = node(), node()
    for now in range(0, 100, 10):
        beat(before, float(now), "pi", "sensor")
        if now <= 10:
            beat(before, float(now), "pi", "inference")
        found = run(before, now, now + 10)
        assert [f[2:] for f in found] in ([], [("service_silent", "inference", "raised")])
    assert len(before.register.annunciated()) == 1
    after.restore(before.to_dict(), Now(0.0, 1e9))
    beat(after, 0.0, "pi", "inference", said=10.0)
    for now in range(0, 100, 10):
        beat(after, float(now), "pi", "sensor")
        assert run(after, now, now + 10) == []


def test_a_will_of_a_service_that_was_online_when_the_watch_began_counts_at_once() -> None:
    engine = cloud()
    beat(engine, 0.5, "pi", "sensor", said=-1e6)
    beat(engine, 5.0, "pi", "sensor", state="offline")
    assert of_node(run(engine, 5, 7)) == [(5, "raised")]


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
