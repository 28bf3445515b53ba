"""The JSON line at the end: recorded against stored, raises of alarms, latencies."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.up.summary import complete, quantile, summarize

times = st.lists(st.sampled_from(["t0", "t1", "t2", "t3"]), max_size=12)


@given(times, times)
def test_missing_and_duplicates_compare_times_as_multisets(recorded: list[str], stored: list[str]) -> None:
    summary = summarize("pack-1", recorded, stored, 0, [], [])
    missing, duplicates = list(recorded), 0
    for time in stored:
        if time in missing:
            missing.remove(time)
        else:
            duplicates += 1
    assert (summary["published"], summary["stored"]) == (len(recorded), len(stored))
    assert (summary["missing"], summary["duplicates"]) == (len(missing), duplicates)
    assert complete(summary) == (Counter(recorded) == Counter(stored))


def test_a_recording_that_holds_one_time_twice_is_complete_with_both() -> None:
    assert complete(summarize("p", ["t0", "t1", "t1"], ["t1", "t0", "t1"], 0, [], []))
    once = summarize("p", ["t0", "t1", "t1"], ["t1", "t0"], 0, [], [])
    assert (once["missing"], once["duplicates"], complete(once)) == (1, 0, False)


def test_one_lost_message_is_not_complete() -> None:
    assert not complete(summarize("p", ["t0"], ["t0"], 1, [], []))


def event(kind: str, occurrence: str | None, state: str, rule: str = "cell_spread") -> dict[str, Any]:
    alarm: dict[str, Any] = {
        "state": state,
        "raised_at": "2019-05-01T00:00:00.000Z",
        "severity": "medium",
        "evidence": None,
    }
    if rule == "cell_spread":
        alarm["evidence"] = {"channel": "cell_spread"}
    return {"type": kind, "occurrence": occurrence, "rule": rule, "alarm": alarm}


def test_alarms_are_the_raises_with_their_state_at_the_end() -> None:
    events = [
        event("raised", "o1", "unacknowledged_active"),
        event("raised", "o2", "unacknowledged_active", "service_silent"),
        event("cleared", "o1", "rtn_unacknowledged"),
        event("drill", None, "normal"),
        event("raised", "o3", "unacknowledged_active"),
    ]
    told = {"ts": "2019-05-01T00:00:00.000Z", "severity": "medium"}
    assert summarize("p", [], [], 0, [], events)["alarms"] == [
        {"rule": "cell_spread", "channel": "cell_spread", "state": "rtn_unacknowledged", **told},
        {"rule": "service_silent", "channel": None, "state": "unacknowledged_active", **told},
        {"rule": "cell_spread", "channel": "cell_spread", "state": "unacknowledged_active", **told},
    ]


def test_latencies_are_of_the_scores_that_have_one() -> None:
    scores = [{"latency_ms": float(i)} for i in range(100)] + [{"latency_ms": None}]
    summary = summarize("p", [], [], 0, scores, [])
    assert (summary["scores"], summary["latency_ms"]) == (101, {"p50": 50.0, "p99": 99.0})
    assert summarize("p", [], [], 0, [], [])["latency_ms"] == {"p50": None, "p99": None}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_and_enough_are_not_above_it(values: list[float], part: float) -> None:
    found = quantile(values, part)
    assert found is not None
    assert found in [round(v, 3) for v in values]
    assert sum(round(v, 3) <= found for v in values) >= part * len(values)


@pytest.mark.parametrize(("part", "value"), [(0.0, 1), (0.5, 3), (1.0, 4)])
def test_quantiles_of_four(part: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], part) == value
