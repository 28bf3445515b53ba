"""The whole decision: suspect readings, garbage, restarts, commands, scores, silence."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alert.display import view_of
from services.alert.engine import Engine, Now
from services.alert.register import Change
from services.alert.rules import load_rules
from services.bus.messages import AlarmStatus, Estimate, Estimated, Event, Reply, Sample, Status, write_fields
from services.bus.settings import ROOT
from services.bus.topics import Topic
from tests.alert.builders import (
    BOOT,
    START,
    TELEMETRY,
    at,
    brief,
    command,
    judge,
    layout,
    rules_of,
    sample,
    score,
    shipped,
    yaml_of,
)

NOW = Now(100.0, START.timestamp() + 100)


def engine() -> Engine:
    return Engine("pi", shipped(), 0.0)


def hot(e: Engine, t: float = 0.0) -> None:
    """Raise over_temperature."""
    changes = judge(e, *(sample(t + i, temperature_max=65.0) for i in range(3)))
    assert brief(changes) == [("over_temperature", "raised")]


# --- suspect readings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["fault:crc", None])
def test_a_jump_of_80_degrees_then_a_dead_probe_alarms(mark: str | None) -> None:
    e = engine()
    good = [sample(i, temperature_max=30.0) for i in range(10)]
    jump = sample(10, {"temperature_max": "suspect"}, temperature_max=110.0)
    dead = sample(11, {"temperature_max": mark} if mark else None, temperature_max=None)
    assert judge(e, *good, jump) == []
    (change,) = judge(e, dead)
    assert (change.rule, change.type, change.alarm["severity"]) == ("over_temperature", "raised", "critical")
    assert change.when == at(10)
    assert change.alarm["evidence"]["sample"] == {"boot": BOOT, "seq": 10}
    assert change.alarm["evidence"]["quality"] == "suspect"


def test_a_jump_then_no_sample_at_all_alarms_by_silence_with_the_same_occurrence() -> None:
    good = [sample(i, temperature_max=30.0) for i in range(10)]
    jump = sample(10, {"temperature_max": "suspect"}, temperature_max=110.0)
    silent = engine()
    silent.tick(Now(0.0, 0.0), True)
    judge(silent, *good, jump)
    assert brief(silent.tick(Now(14.9, 0.0), True)) == []
    changes = silent.tick(Now(16.0, START.timestamp()), True)
    assert brief(changes) == [("telemetry_silent", "raised"), ("over_temperature", "raised")]
    later = engine()
    (confirmed,) = judge(later, *good, jump, sample(20, temperature_max=30.0))
    assert confirmed.occurrence == changes[1].occurrence
    assert judge(silent, sample(20, temperature_max=30.0)) == []


def test_a_jump_that_a_good_reading_contradicts_does_not_alarm() -> None:
    samples = [sample(i, temperature_max=30.0) for i in range(20)]
    samples[10] = sample(10, {"temperature_max": "suspect"}, temperature_max=110.0)
    assert judge(engine(), *samples) == []


def test_a_garbage_frame_followed_by_good_readings_does_not_alarm() -> None:
    """Row 7793 of car1: cells read 66.5 V, marked `range`."""
    cells = {f"cell_voltages[{i}]": "range" for i in range(46)}
    samples = [sample(i, cell_voltage_max=4.0, cell_voltages=[4.0] * 96) for i in range(20)]
    samples[10] = sample(10, cells | {"cell_voltage_max": "range"}, cell_voltage_max=66.5, cell_voltages=[66.5] * 96)
    assert judge(engine(), *samples) == []


def test_a_suspect_reading_waits_over_a_restart_of_the_sensor() -> None:
    e = engine()
    judge(e, sample(0, temperature_max=30.0), sample(1, {"temperature_max": "suspect"}, temperature_max=110.0))
    reborn = sample(0, {"temperature_max": "fault:crc"}, temperature_max=None).model_copy(update={"boot": "ab" * 8})
    assert brief(judge(e, reborn)) == [("over_temperature", "raised")]


# --- shipped rules --------------------------------------------------------------------------------------------------


def test_each_shipped_limit_raises_and_clears_once() -> None:
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "cell_over_voltage": ({"cell_voltage_max": 4.26}, {"cell_voltage_max": 4.1}),
        "cell_under_voltage": ({"cell_voltage_min": 2.6}, {"cell_voltage_min": 3.2}),
        "over_temperature": ({"temperature_max": 61.0}, {"temperature_max": 40.0}),
        "charge_below_freezing": (
            {"temperature_min": -3.0, "current": 20.0},
            {"temperature_min": -3.0, "current": -9.0},
        ),
        "cell_spread": ({"cell_spread": 0.16, "current": 0.0}, {"cell_spread": 0.05, "current": 0.0}),
    }
    for rule, (bad, good) in cases.items():
        e = engine()
        channels = [bad] * 400 + [good] * 400
        changes = judge(e, *(sample(t, None, seq=t, **c) for t, c in enumerate(channels)))
        assert brief(changes) == [(rule, "raised"), (rule, "cleared")], rule


def test_spread_under_load_is_not_judged_and_does_not_clear() -> None:
    e = engine()
    rest = [sample(t, cell_spread=0.16, current=0.0) for t in range(200)]
    load = [sample(t, cell_spread=0.05, current=-80.0) for t in range(200, 800)]
    assert brief(judge(e, *rest, *load)) == [("cell_spread", "raised")]
    assert judge(engine(), *(sample(t, cell_spread=0.3, current=-80.0) for t in range(600))) == []


def test_a_limit_on_a_vector_judges_each_element(tmp_path: Path) -> None:
    rule = {"name": "cell", "kind": "high", "channel": "cell_voltages", "setpoint": 4.25, "deadband": 0.05}
    rule |= {"severity": "high", "text": "{channel} {value}", "why": "a data sheet", "digits": 3}
    e = Engine("pi", rules_of(tmp_path, yaml_of(rule, profile="battery")), 0.0)
    judge(e, sample(0, cell_voltages=[4.0, 4.0, 4.0]))
    (raised,) = judge(e, sample(1, cell_voltages=[4.0, 4.3, None]))
    assert (raised.channel, raised.alarm["text"]) == ("cell_voltages[1]", "cell_voltages[1] 4.300")
    (second,) = judge(e, sample(2, cell_voltages=[4.26, 4.3, 4.0]))
    assert second.channel == "cell_voltages[0]"
    cleared = judge(e, sample(3, cell_voltages=[4.0, 4.0, 4.0]))
    assert [c.channel for c in cleared] == ["cell_voltages[0]", "cell_voltages[1]"]
    status = AlarmStatus.model_validate({"boot": BOOT} | e.register.status("pack-1", "cell"))
    assert set(status.alarms) == {"cell_voltages[0]", "cell_voltages[1]"}
    assert status.revision == 4


def test_a_spread_rule_on_a_vector(tmp_path: Path) -> None:
    rule = {"name": "s", "kind": "spread", "channels": ["cell_voltages"], "setpoint": 0.1, "severity": "low"}
    rule |= {"text": "{value}", "why": "a data sheet"}
    e = Engine("pi", rules_of(tmp_path, yaml_of(rule, profile="battery")), 0.0)
    (raised,) = judge(e, sample(0, cell_voltages=[3.7, 3.7]), sample(1, cell_voltages=[3.7, 3.85]))
    assert (raised.channel, raised.alarm["evidence"]["value"]) == ("cell_voltages", pytest.approx(0.15))


def test_missing_channels_of_the_layout_alarm_by_name() -> None:
    e = engine()
    e.take(Topic("pi", "pack-1", "layout", "battery"), layout("voltage", "current", cell_voltages=2), NOW)
    changes = judge(e, *(sample(t, voltage=355.0, cell_voltages=[3.7, None]) for t in range(8)))
    assert {(c.rule, c.channel) for c in changes} == {("missing_data", "current"), ("missing_data", "cell_voltages[1]")}
    assert all(c.when == at(5) for c in changes)


def test_k_of_n_windows_of_the_model_alarm_with_window_and_share() -> None:
    e = engine()
    topic = Topic("pi", "pack-1", "score", "dyad-int8")
    five_of_eight = [0.5, 0.5, 0.5, 2, 0.5, 2, 2, 0.5, 2, 2.5]
    changes = [c for i, v in enumerate(five_of_eight) for c in e.take(topic, score(i, v), NOW)]
    (raised,) = changes
    assert (raised.rule, raised.when, raised.alarm["evidence"]["value"]) == ("anomaly", at(9), 2.5)
    assert raised.alarm["evidence"]["window"]["last"] == 217
    assert e.take(Topic("pi", "pack-1", "score", "other"), score(10, 9), NOW) == []


def test_a_limit_on_an_estimate(tmp_path: Path) -> None:
    rule = {"name": "leak", "kind": "estimate", "quantity": "leak_current", "setpoint": 0.02}
    rule |= {"severity": "medium", "text": "{value} A", "why": "a data sheet", "digits": 3}
    e = Engine("pi", rules_of(tmp_path, yaml_of(rule, profile="battery")), 0.0)
    fields: dict[str, Any] = {"boot": BOOT, "seq": 0, "ts": START, "mono": 0.0, "of": {"boot": BOOT, "seq": 9}}
    estimate = Estimate.model_validate(fields | {"values": {"leak_current": {"value": 0.03, "error": 0.002}}})
    (raised,) = e.take(Topic("pi", "pack-1", "estimate", "battery"), estimate, NOW)
    assert raised.alarm["text"] == "0.030 A"
    again = Engine("pi", e.rules, 0.0)
    again.restore(e.to_dict(), NOW)
    cleared = estimate.model_copy(update={"seq": 1, "values": {"leak_current": Estimated(value=0.0, error=0.002)}})
    (change,) = again.take(Topic("pi", "pack-1", "estimate", "battery"), cleared, NOW)
    assert change.type == "cleared"


# --- restart --------------------------------------------------------------------------------------------------------

READING = st.tuples(
    st.one_of(st.none(), st.floats(20, 120)),
    st.sampled_from([None, None, None, "suspect", "range", "fault:crc"]),
    st.sampled_from([0.0, 0.1, 0.2, 0.3]),
)


def samples_of(readings: list[tuple[float | None, str | None, float]]) -> list[Sample]:
    found = []
    for i, (value, quality, spread) in enumerate(readings):
        channels: dict[str, Any] = {"temperature_max": value, "cell_spread": spread, "current": 0.0}
        marks = {"temperature_max": quality} if quality else {}
        found.append(sample(i * 20.0, marks, seq=i, **channels))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(READING, max_size=50), st.integers(0, 50))
def test_a_restart_at_any_sample_changes_nothing(readings: list[Any], cut: int) -> None:
    samples = samples_of(readings)
    whole = engine()
    expected = judge(whole, *samples)
    first = engine()
    found = judge(first, *samples[:cut])
    second = engine()
    assert second.restore(json.loads(json.dumps(first.to_dict())), NOW) == []
    found += judge(second, *samples[cut:])
    assert found == expected
    assert second.to_dict() == whole.to_dict()


@settings(max_examples=60, deadline=None)
@given(st.lists(READING, max_size=50))
def test_events_and_states_are_valid_messages_with_rising_revisions(readings: list[Any]) -> None:
    e = engine()
    revisions: dict[str, int] = {}
    for change in judge(e, *samples_of(readings)):
        event = Event.model_validate_json(write_fields({"boot": BOOT, "seq": 0, **change.fields()}))
        assert event.revision == revisions.get(change.rule, 0) + 1
        revisions[change.rule] = event.revision
    for device, rule in e.register.alarms:
        AlarmStatus.model_validate_json(write_fields({"boot": BOOT} | e.register.status(device, rule)))


def test_an_alarm_whose_rule_was_removed_ends(tmp_path: Path) -> None:
    e = engine()
    hot(e)
    rule = {"name": "other", "kind": "high", "channel": "voltage", "setpoint": 1, "severity": "low", "text": "x"}
    fresh = Engine("pi", rules_of(tmp_path, yaml_of(rule | {"why": "a data sheet"}, profile="battery")), 0.0)
    (change,) = fresh.restore(e.to_dict(), NOW)
    assert (change.type, change.reason, change.revision) == ("cleared", "its rule was removed", 2)
    assert fresh.register.status("pack-1", "over_temperature")["state"] == "normal"


def test_a_condition_that_is_true_at_start_raises() -> None:
    e = engine()
    assert brief(judge(e, *(sample(t, temperature_max=65.0) for t in range(1000, 1004)))) == [
        ("over_temperature", "raised")
    ]


def test_samples_out_of_order_are_not_judged() -> None:
    e = engine()
    judge(e, sample(10, temperature_max=30.0))
    assert judge(e, *(sample(t, temperature_max=90.0) for t in range(5))) == []
    assert e.stream("pack-1", "battery").out_of_order == 5


# --- commands -------------------------------------------------------------------------------------------------------


def send(e: Engine, action: str, rule: str = "over_temperature", **fields: Any) -> tuple[Reply, list[tuple[str, str]]]:
    reply, changes = e.command("pack-1", command(action, rule, **fields), NOW)
    return reply, brief(changes)


def occurrence(e: Engine) -> str:
    return str(e.register.status("pack-1", "over_temperature")["occurrence"])


def test_acknowledge_twice_is_once_also_after_a_restart() -> None:
    e = engine()
    hot(e)
    fields: dict[str, Any] = {"occurrence": occurrence(e), "revision": 1, "severity": "high"}
    reply, changes = send(e, "acknowledge", **fields)
    assert (reply.status, reply.revision, changes) == ("done", 2, [("over_temperature", "acknowledged")])
    again = engine()
    again.restore(json.loads(json.dumps(e.to_dict())), NOW)
    for one in (e, again):
        assert send(one, "acknowledge", **fields) == (reply, [])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"occurrence": "01JCOTHER"}, "raised again"),
        ({"occurrence": None}, "names no occurrence"),
        ({"severity": "medium"}, "severity has risen to high"),
        ({"revision": 7}, "revision 7 does not exist"),
        ({"expires_at": START}, "expired"),
        ({"channel": "voltage"}, "no alarm"),
    ],
)
def test_a_command_about_something_else_than_the_person_saw_is_refused(fields: dict[str, Any], reason: str) -> None:
    e = engine()
    hot(e)
    before = e.to_dict()["alarms"]
    reply, changes = send(e, "acknowledge", **({"occurrence": occurrence(e)} | fields))
    assert (reply.status, changes) == ("refused", [])
    assert reason in (reply.reason or "")
    assert e.to_dict()["alarms"] == before


def test_an_acknowledge_of_before_the_escalation_is_refused() -> None:
    e = engine()
    hot(e)
    seen = {"occurrence": occurrence(e), "severity": "high"}
    assert brief(judge(e, sample(5, temperature_max=85.0))) == [("over_temperature", "escalated")]
    assert send(e, "acknowledge", **seen)[0].reason == "severity has risen to critical"


def test_a_shelf_ends_by_itself() -> None:
    e = engine()
    hot(e)
    fields: dict[str, Any] = {"occurrence": occurrence(e), "until": START + timedelta(seconds=160)}
    assert send(e, "shelve", **fields)[0].reason == "a shelf needs a reason"
    assert send(e, "shelve", **fields, reason="fan ordered")[1] == [("over_temperature", "shelved")]
    assert e.register.annunciated() == []
    assert e.register.tick(NOW.wall + 50, 50, 150.0) == []
    assert brief(e.register.tick(NOW.wall + 61, 11, 161.0)) == [("over_temperature", "unshelved")]


def test_runaway_cannot_be_shelved() -> None:
    e = engine()
    changes = judge(e, *(sample(t, temperature_max=20.0 + 2 * t) for t in range(12)))
    assert brief(changes) == [("thermal_runaway", "raised")]
    until = START + timedelta(seconds=160)
    reply, _ = send(e, "shelve", "thermal_runaway", occurrence=changes[0].occurrence, until=until, reason="noisy")
    assert (reply.status, reply.reason) == ("refused", "this alarm cannot be shelved")


def test_star_acknowledges_all_of_a_device_but_what_is_worse() -> None:
    e = engine()
    hot(e)
    judge(e, *(sample(t, cell_voltage_max=4.3, temperature_max=85.0) for t in range(5, 9)))
    reply, changes = send(e, "acknowledge", "*", severity="high")
    assert (reply.status, changes) == ("done", [("cell_over_voltage", "acknowledged")])
    assert "severity has risen to critical" in (reply.reason or "")


def test_a_command_for_an_alarm_that_is_not_there_is_refused() -> None:
    assert send(engine(), "acknowledge", "nothing", occurrence="01")[0].reason == "no alarm nothing of pack-1"


# --- silence --------------------------------------------------------------------------------------------------------


def status(service: str, state: str = "online", session: str = "c1", **fields: Any) -> tuple[Topic, Status]:
    topic = Topic("pi", "node", "status", service)
    return topic, Status.model_validate({"state": state, "session": session, "heartbeat_s": 10.0, "ts": START} | fields)


def test_silence_of_a_device_is_suppressed_once_its_recording_has_ended() -> None:
    e = engine()
    judge(e, sample(1, voltage=355.0))
    ended = {"file": "car1", "rows": 2, "published": 2, "finished": True}
    e.take(*status("sensor", replay=ended), Now(1.5, 1e9))
    assert brief(e.tick(Now(1.6, 1e9), True)) == []
    assert brief(e.tick(Now(20.0, 1e9), True)) == [("telemetry_silent", "suppressed")]
    assert e.register.annunciated() == []
    judge(e, Sample.model_validate(sample(2, voltage=355.0).model_dump() | {"mono": 21.0}))
    assert brief(e.tick(Now(21.5, 1e9), True)) == [("telemetry_silent", "unsuppressed")]


def test_a_dead_local_broker_is_one_alarm_and_not_one_of_each_service() -> None:
    e = engine()
    e.take(*status("sensor"), Now(1.0, 1e9))
    judge(e, sample(1, voltage=355.0))
    assert brief(e.tick(Now(2.0, 1e9), True)) == []
    found = [c for t in range(3, 60) for c in e.tick(Now(float(t), 1e9), False)]
    assert brief(found) == [("broker_lost", "raised")]
    assert found[0].mono <= 3 + 6
    assert brief(e.tick(Now(60.0, 1e9), True)) == [("broker_lost", "cleared")]
    assert brief(e.tick(Now(64.0, 1e9), True)) == []


def test_a_service_that_dies_alarms_and_comes_back() -> None:
    e = engine()
    e.tick(Now(0.5, 1e9), True)
    e.take(*status("inference"), Now(1.0, 1e9))
    e.take(*status("sensor"), Now(1.0, 1e9))
    e.take(*status("inference", "offline"), Now(2.0, 1e9))
    (raised,) = e.tick(Now(2.1, 1e9), True)
    assert (raised.device, raised.rule, raised.channel) == ("node", "service_silent", "inference")
    e.take(*status("inference", session="c2"), Now(3.0, 1e9))
    e.take(*status("inference", "offline", session="c1"), Now(3.1, 1e9))  # stale will
    (cleared,) = e.tick(Now(3.2, 1e9), True)
    assert (cleared.channel, cleared.type) == ("inference", "cleared")


def test_what_is_set_aside_is_counted() -> None:
    e = engine()
    e.take(*status("sensor", session="c2"), Now(1.0, 1e9))
    e.take(*status("sensor", "offline", session="c1"), Now(1.1, 1e9))
    judge(e, sample(5, voltage=355.0), sample(4, voltage=355.0))
    assert e.counters() == {"stale_wills": 1, "out_of_order": 1}


def test_telemetry_topic_is_that_of_the_samples() -> None:
    e = engine()
    judge(e, sample(0, voltage=355.0))
    assert list(e.streams) == [(TELEMETRY.device, TELEMETRY.name)]


def silences(changes: list[Change]) -> list[str]:
    return [c.type for c in changes if c.rule == "telemetry_silent"]


def test_a_device_at_rest_is_silent_after_three_of_the_periods_that_it_announced() -> None:
    e = engine()
    e.take(Topic("pi", "pack-1", "layout", "battery"), layout("voltage"), Now(0.0, 1e9))
    resting = [sample(float(t), voltage=355.0).model_copy(update={"next_s": 10.0}) for t in (0, 10, 20)]
    for one in resting:
        judge(e, one)
        for t in range(int(one.mono), int(one.mono) + 10):
            assert silences(e.tick(Now(float(t), 1e9), True)) == []
    assert silences(e.tick(Now(50.0, 1e9), True)) == []
    assert silences(e.tick(Now(50.5, 1e9), True)) == ["raised"]
    judge(e, sample(60.0, voltage=350.0))  # awake: the layout's period is true again
    assert silences(e.tick(Now(60.5, 1e9), True)) == ["cleared"]
    assert silences(e.tick(Now(65.5, 1e9), True)) == ["raised"]


def test_the_computer_s_readings_are_no_page_of_the_display_and_its_alarms_are() -> None:
    e = Engine("pi", load_rules([ROOT / "rules" / "host.yaml", ROOT / "rules" / "battery.yaml"]), 0.0)
    judge(e, sample(0.0, voltage=355.0))
    host = sample(0.0, power_lost=0.0, cpu_temperature=50.0)
    e.take(Topic("pi", "node", "telemetry", "host"), host, Now(0.0, 1e9))
    view = view_of(e, Now(0.5, 1e9), 0.0)
    assert [device for device, _ in view.readings] == ["pack-1"]
    for t in range(1, 5):
        e.take(Topic("pi", "node", "telemetry", "host"), sample(float(t), power_lost=1.0), Now(float(t), 1e9))
    (shown,) = view_of(e, Now(4.5, 1e9), 0.0).alarms
    assert (shown.device, shown.word) == ("node", "PWR")
