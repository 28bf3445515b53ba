"""Rules over estimates: only what is sure raises, only what is back clears; a restart changes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.alert.judge import EstimateWatch
from services.alert.rules import EstimateRule, load_rules
from services.alert.watch import Finding
from services.bus.messages import Estimate
from services.bus.settings import ROOT

BOOT, OTHER = "0" * 16, "1" * 16
START = datetime(2026, 1, 1, tzinfo=UTC)


def rule(**fields: Any) -> EstimateRule:
    given: dict[str, Any] = {
        "name": "leak", "kind": "estimate", "quantity": "leak_rate", "setpoint": 0.002, "deadband": 0.0005,
        "severity": "medium", "text": "{value}", "why": "a physical limit",
    }  # fmt: skip
    return EstimateRule.model_validate(given | fields)


def estimate(minute: int, value: float | None, error: float | None = 0.0, boot: str = BOOT) -> Estimate:
    values = {} if value is None else {"leak_rate": {"value": value, "error": error}}
    fields = {"boot": boot, "seq": minute, "ts": START + timedelta(minutes=minute), "mono": 60.0 * minute}
    return Estimate.model_validate(fields | {"of": {"boot": OTHER, "seq": 10 * minute}, "values": values})


def judged(watch: EstimateWatch, *readings: tuple[float | None, float | None]) -> list[tuple[int, Finding]]:
    return [(i, f) for i, (v, e) in enumerate(readings) for f in watch.take(estimate(i, v, e))]


def test_it_raises_only_when_the_value_is_beyond_by_three_standard_errors() -> None:
    watch = EstimateWatch(rule())
    found = judged(watch, (0.003, 0.001), (0.0028, 0.0003), (0.003, 0.0003))
    ((minute, raised),) = found
    assert (minute, raised.active, raised.value, raised.limit) == (2, True, 0.003, 0.002)
    assert raised.quality == "standard error 0.0003"
    assert (raised.channel, raised.severity) == ("leak_rate", "medium")
    assert raised.sample is not None
    assert (raised.sample.boot, raised.sample.seq) == (OTHER, 20)  # the telemetry that it rests on
    assert judged(EstimateWatch(rule(sigmas=1)), (0.003, 0.001))[0][1].active
    assert judged(EstimateWatch(rule()), (0.002, None))[0][1].active  # no error told: taken as it is


def test_an_estimate_that_became_unsure_or_is_gone_neither_raises_nor_clears() -> None:
    watch = EstimateWatch(rule())
    readings = [(0.004, 0.0001), (0.004, 0.01), (None, None), (0.0017, 0.0001), (0.0014, 0.01)]
    assert [(i, f.active) for i, f in judged(watch, *readings)] == [(0, True), (4, False)]


def test_low_side_and_delays() -> None:
    watch = EstimateWatch(rule(side="low", setpoint=0.1, deadband=0.05, on_delay_s=120))
    found = judged(watch, (0.05, 0.01), (0.05, 0.02), (0.05, 0.01), (0.05, 0.01), (0.05, 0.01), (0.16, 0.01))
    assert [(i, f.active) for i, f in found] == [(2, True), (5, False)]


def test_further_beyond_is_worse() -> None:
    watch = EstimateWatch(rule(escalate={"setpoint": 0.01, "severity": "high"}))
    found = judged(watch, (0.004, 0.0001), (0.012, 0.001), (0.02, 0.001), (0.005, 0.001), (0.0, 0.001))
    assert [(i, f.active, f.severity, f.limit) for i, f in found] == [
        (0, True, "medium", 0.002),
        (2, True, "high", 0.01),
        (4, False, "medium", 0.002),
    ]


def test_another_start_of_the_publisher_begins_the_delay_anew() -> None:
    watch = EstimateWatch(rule(on_delay_s=100))
    assert watch.take(estimate(10, 0.004)) == []
    assert watch.take(estimate(0, 0.004, boot=OTHER)) == []
    assert watch.take(estimate(1, 0.004, boot=OTHER)) == []
    assert watch.take(estimate(2, 0.004, boot=OTHER))[0].active


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([None, 0.0, 0.0019, 0.003, 0.02]), st.sampled_from([0.0, 0.0005, 0.01]))),
    st.integers(0, 30),
)
def test_a_restart_changes_nothing(readings: list[tuple[float | None, float]], cut: int) -> None:
    made = rule(on_delay_s=60, off_delay_s=60, escalate={"setpoint": 0.01, "severity": "high"})
    whole = [f for _, f in judged(EstimateWatch(made), *readings)]
    first = EstimateWatch(made)
    found = [f for i, (v, e) in enumerate(readings[:cut]) for f in first.take(estimate(i, v, e))]
    second = EstimateWatch(made)
    second.restore(first.to_dict())
    found += [f for i, (v, e) in enumerate(readings) if i >= cut for f in second.take(estimate(i, v, e))]
    assert found == whole


@pytest.mark.parametrize(
    "wrong",
    [
        {"escalate": {"setpoint": 0.001, "severity": "high"}},
        {"escalate": {"setpoint": 0.01, "severity": "low"}},
        {"side": "low", "escalate": {"setpoint": 0.01, "severity": "high"}},
        {"sigmas": -1},
        {"channel": "leak_rate"},
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**wrong)


def test_shipped_rules_over_estimates_need_three_standard_errors() -> None:
    shipped = [r for r in load_rules([ROOT / "rules" / "battery.yaml"]).by_name().values() if r.kind == "estimate"]
    assert {r.quantity for r in shipped} == {"leak_rate", "cell_drain", "cell_spread_drift", "cell_resistance_ratio"}
    assert all(r.sigmas >= 3 for r in shipped)
