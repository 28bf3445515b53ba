"""The rules about the computer: each raises at its limit after its delay, and clears."""

import pytest

from services.alert.engine import Engine, Now
from services.alert.rules import load_rules
from services.bus.profiles import load_profile
from services.bus.settings import ROOT
from services.bus.topics import Topic
from tests.alert.builders import sample

HOST = Topic("pi", "node", "telemetry", "host")
GOOD = {
    "cpu_temperature": 55.0,
    "cpu_load": 0.05,
    "memory_used": 0.3,
    "disk_free": 0.7,
    "under_voltage": 0.0,
    "throttled": 0.0,
    "power_lost": 0.0,
}


@pytest.mark.parametrize(
    ("rule", "channel", "value", "within_s", "severity"),
    [
        ("power_lost", "power_lost", 1.0, 4, "high"),
        ("under_voltage", "under_voltage", 1.0, 0, "medium"),
        ("processor_hot", "cpu_temperature", 80.0, 32, "medium"),
        ("processor_hot", "cpu_temperature", 95.0, 32, "high"),
        ("processor_slowed", "throttled", 1.0, 62, "low"),
        ("processor_busy", "cpu_load", 0.99, 302, "medium"),
        ("memory_low", "memory_used", 0.95, 62, "medium"),
        ("disk_full", "disk_free", 0.04, 62, "medium"),
        ("disk_full", "disk_free", 0.0, 62, "high"),
    ],
)
def test_each_raises_and_clears(rule: str, channel: str, value: float, within_s: float, severity: str) -> None:
    engine = Engine("pi", load_rules([ROOT / "rules" / "host.yaml"]), 0.0)
    found: list[tuple[float, str, str, str]] = []
    for seq in range(400):
        t = 2.0 * seq
        bad = 20 <= t < 400
        told = sample(t, None, seq=seq, **(GOOD | ({channel: value} if bad else {})))
        found += [(t, c.rule, c.type, c.alarm["severity"]) for c in engine.take(HOST, told, Now(t, 1e9 + t))]
    raised, cleared = found
    assert raised[1:] == (rule, "raised", severity)
    assert raised[0] <= 20 + within_s
    assert cleared[1:3] == (rule, "cleared")
    assert 400 <= cleared[0] <= 464


def test_a_ups_that_does_not_answer_is_an_alarm() -> None:
    engine = Engine("pi", load_rules([ROOT / "rules" / "host.yaml"]), 0.0)
    layout = load_profile("host").layout(dict.fromkeys(GOOD))
    engine.take(Topic("pi", "node", "layout", "host"), layout, Now(0.0, 1e9))
    changes = []
    for seq in range(10):
        told = sample(2.0 * seq, {"power_lost": "fault:ups"}, seq=seq, **(GOOD | {"power_lost": None}))
        changes += engine.take(HOST, told, Now(2.0 * seq, 1e9))
    assert [(c.rule, c.type, c.channel) for c in changes] == [("host_unknown", "raised", "power_lost")]
    assert changes[0].when.second <= 6  # max(5 s, 3 periods)
