"""Drills: labelled, timed, and never in the way of a real alarm."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from services.alert.display import view_of
from services.alert.drill import Drill, interrupts
from services.alert.engine import Engine, Now
from services.alert.lcd import frame
from services.alert.rules import DrillRule
from services.alert.service import serve
from services.alert.settings import AlertSettings
from services.bus.settings import ROOT
from services.bus.topics import NODE_DEVICE
from tests.alert.builders import brief, command, judge, sample, shipped
from tests.fixtures_mosquitto import Broker

RULE = DrillRule(
    name="drill", kind="drill", severity="high", text="x", why="tests of drills", at_least_s=10, at_most_s=60
)
DRILL = command("drill", "drill")


def engine() -> Engine:
    return Engine("pi", shipped(), 0.0)


def now(t: float) -> Now:
    return Now(t, 1.8e9 + t)


class TestEngine:
    def test_a_drill_is_labelled_and_ends_normal_without_a_person(self) -> None:
        e = engine()
        reply, changes = e.command(NODE_DEVICE, DRILL, now(1))
        assert reply.status == "done"
        assert brief(changes) == [("drill", "drill")]
        assert changes[0].by == "anna@test"
        assert changes[0].alarm["text"] == "DRILL by anna@test: no danger"
        assert frame(view_of(e, now(1), 0.0))[1].startswith("!!drill")
        assert view_of(e, now(1), 0.0).lamp == "RED"
        over = e.end_drill("all answered", now(12))
        assert brief(over) == [("drill", "cleared"), ("drill", "acknowledged")]
        assert (over[0].reason, over[-1].alarm["state"]) == ("all answered", "normal")
        assert e.end_drill("again", now(13)) == []

    def test_it_is_refused_while_a_real_alarm_waits(self) -> None:
        e = engine()
        assert brief(judge(e, *(sample(t, temperature_max=70.0) for t in range(4)))) == [("over_temperature", "raised")]
        reply, changes = e.command(NODE_DEVICE, DRILL, now(5))
        assert (reply.status, changes) == ("refused", [])
        assert reply.reason == "a real alarm waits to be acknowledged: over_temperature"

    def test_one_at_a_time_and_the_same_command_twice_is_once(self) -> None:
        e = engine()
        first, _ = e.command(NODE_DEVICE, DRILL, now(1))
        again, changes = e.command(NODE_DEVICE, DRILL, now(2))
        assert (again, changes) == (first, [])
        other, _ = e.command(NODE_DEVICE, command("drill", "drill", correlation_id="other"), now(3))
        assert (other.status, other.reason) == ("refused", "a drill is under way")

    def test_other_rules_cannot_be_drilled(self) -> None:
        reply, changes = engine().command("pack-1", command("drill", "over_temperature"), now(1))
        assert (reply.status, changes) == ("refused", [])

    def test_a_real_alarm_stands_before_it_whatever_its_severity(self) -> None:
        e = engine()
        e.command(NODE_DEVICE, DRILL, now(1))
        changes = judge(e, *(sample(t, {"voltage": "fault:bus"}, voltage=None) for t in range(8)))
        assert ("sensor_fault", "raised") in brief(changes)  # medium; the drill is high
        assert interrupts(changes, ["drill"])
        assert [entry.rule for entry in view_of(e, now(9), 0.0).alarms] == ["sensor_fault", "drill"]

    def test_its_own_event_does_not_interrupt_it(self) -> None:
        _, changes = engine().command(NODE_DEVICE, DRILL, now(1))
        assert not interrupts(changes, ["drill"])


class TestDrill:
    def drill(self, *, heard_server: bool = True) -> Drill:
        return Drill(RULE, "anna", 100.0, dict.fromkeys(("console", "lcd", "broker", "server")), heard_server)

    def test_the_first_picture_given_since_it_began_counts(self) -> None:
        d = self.drill()
        d.drawn("lcd", [(99.0, 99.2), (100.1, 100.4), (101.0, 101.3)])
        d.drawn("console", [(99.9, 100.5)])  # given before
        assert d.hops == {"console": None, "lcd": 0.4000000000000057, "broker": None, "server": None}

    def test_it_ends_when_all_have_answered_but_not_before_people_saw_it(self) -> None:
        d = self.drill()
        for hop in d.hops:
            d.answered(hop, 101.0)
        assert not d.over(109.9)
        assert d.over(110.0)

    def test_it_ends_when_somebody_does_not_answer(self) -> None:
        d = self.drill()
        for hop in ("console", "broker", "server"):
            d.answered(hop, 100.25)
        d.faults["lcd"] = "it hangs"
        assert not d.over(159.0)
        assert d.over(160.0)
        assert d.report() == "console 0.25 s, broker 0.25 s, server 0.25 s; no answer: lcd (it hangs)"
        assert d.record("2026-11-21T08:00:00Z")["no_answer"] == ["lcd"]

    def test_where_no_server_was_ever_heard_its_silence_is_no_failure(self) -> None:
        d = self.drill(heard_server=False)
        for hop in ("console", "lcd", "broker"):
            d.answered(hop, 100.1)
        assert (d.failed, d.report()[-11:]) == ([], "; no server")
        assert self.drill().failed == ["console", "lcd", "broker", "server"]


async def test_the_command_shows_what_answered_and_a_record_is_kept(broker: Broker, tmp_path: Path) -> None:
    stop = asyncio.Event()
    settings = AlertSettings(node="pi", broker_port=broker.port, data_dir=tmp_path, heartbeat_s=0.5)
    rules = shipped()
    quick = rules.drills[0].model_copy(update={"at_least_s": 0.1, "at_most_s": 2.0})
    calm = tuple(rule.model_copy(update={"start_delay_s": 1000.0}) for rule in rules.watch)  # there is no sensor here
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/node/#")
        serving = asyncio.create_task(serve(settings, type(rules)(rules.profiles, calm, (quick,)), stop))
        await asyncio.to_thread(client.wait_for, "emberwatch/v1/pi/node/status/alert")
        arguments = ["drill", "--port", str(broker.port), "--by", "anna", "--data", str(tmp_path)]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services", *arguments],
            cwd=ROOT,
            env=os.environ | {"EMBERWATCH_NODE": "pi"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        raised, report = done.stdout.splitlines()
        assert raised.startswith("test alarm raised; here after ")
        assert report.startswith("console 0.")
        assert "broker " in report
        assert report.endswith("; no server")
        types = [json.loads(m.payload)["type"] for m in client.messages if m.topic.endswith("/event/drill")]
        assert types == ["drill", "cleared", "acknowledged"]
        stop.set()
        await serving
    (line,) = (tmp_path / "alert" / "drills.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["by"], record["no_answer"]) == ("anna", [])
    assert record["hops_s"]["console"] < 5
