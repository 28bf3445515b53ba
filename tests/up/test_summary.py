"""The JSON line at the end: recorded against stored, raises of alarms, latencies."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.up.summary import Run, complete, quantile, summarize

RUN = Run("pack-1", "a" * 16, datetime(2026, 1, 1, tzinfo=UTC), frozenset({"b" * 16}))
EARLIER = "e" * 16
times = st.lists(st.sampled_from(["t0", "t1", "t2", "t3"]), max_size=12)


@given(times, times)
def test_missing_and_duplicates_compare_times_as_multisets(recorded: list[str], stored: list[str]) -> None:
    summary = summarize(RUN, recorded, stored, [], [], [])
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
    assert complete(summarize(RUN, ["t0", "t1", "t1"], ["t1", "t0", "t1"], [], [], []))
    once = summarize(RUN, ["t0", "t1", "t1"], ["t1", "t0"], [], [], [])
    assert (once["missing"], once["duplicates"], complete(once)) == (1, 0, False)


def test_one_lost_message_is_not_complete() -> None:
    assert not complete(summarize(RUN, ["t0"], ["t0"], [stream(RUN.boot, 1)], [], []))


def stream(boot: str, lost: int) -> dict[str, Any]:
    return {"boot": boot, "lost": lost}


def score(latency_ms: float | None, boot: str = RUN.boot) -> dict[str, Any]:
    return {"latency_ms": latency_ms, "window": {"boot": boot, "first": 0, "last": 127}}


def event(
    kind: str,
    occurrence: str | None,
    state: str,
    rule: str = "cell_spread",
    boot: str = RUN.boot,
    device: str = "pack-1",
) -> dict[str, Any]:
    about_time = rule.endswith("silent")
    alarm: dict[str, Any] = {
        "state": state,
        "raised_at": "2026-01-01T00:01:00.000Z" if about_time else "2019-05-01T00:00:00.000Z",
        "severity": "medium",
        "evidence": None if about_time else {"channel": rule, "sample": {"boot": boot, "seq": 9}, "window": None},
    }
    return {"type": kind, "occurrence": occurrence, "rule": rule, "device": device, "alarm": alarm}


def test_alarms_are_the_raises_with_their_state_at_the_end() -> None:
    events = [
        event("raised", "o1", "unacknowledged_active"),
        event("raised", "o2", "unacknowledged_active", "service_silent", device="node"),
        event("cleared", "o1", "rtn_unacknowledged"),
        event("drill", None, "normal"),
        event("raised", "o3", "unacknowledged_active"),
    ]
    told = {"ts": "2019-05-01T00:00:00.000Z", "severity": "medium"}
    later = told | {"ts": "2026-01-01T00:01:00.000Z"}
    assert summarize(RUN, [], [], [], [], events)["alarms"] == [
        {"rule": "cell_spread", "channel": "cell_spread", "state": "rtn_unacknowledged", **told},
        {"rule": "service_silent", "channel": None, "state": "unacknowledged_active", **later},
        {"rule": "cell_spread", "channel": "cell_spread", "state": "unacknowledged_active", **told},
    ]


def test_what_other_recordings_devices_and_runs_have_left_does_not_count() -> None:
    mine = event("raised", "o1", "unacknowledged_active")
    by_score = event("raised", "o2", "unacknowledged_active", "anomaly")
    by_score["alarm"]["evidence"] |= {"sample": {"boot": "b" * 16, "seq": 3}, "window": {"boot": RUN.boot, "first": 0}}
    earlier_score = event("raised", "o3", "unacknowledged_active", "anomaly")
    earlier_score["alarm"]["evidence"] |= {"window": {"boot": EARLIER, "first": 0}}
    yesterday = event("raised", "o4", "unacknowledged_active", "service_silent", device="node")
    yesterday["alarm"]["raised_at"] = "2025-12-31T23:59:59.000Z"
    events = [
        mine,
        by_score,
        earlier_score,
        yesterday,
        event("raised", "o5", "unacknowledged_active", boot=EARLIER),
        event("raised", "o6", "unacknowledged_active", device="ghost"),
        event("raised", "o7", "unacknowledged_active", "telemetry_silent", device="ghost"),
    ]
    streams = [stream(RUN.boot, 2), stream("b" * 16, 1), stream(EARLIER, 7)]
    summary = summarize(RUN, [], [], streams, [score(1.0), score(900.0, EARLIER)], events)
    assert [a["rule"] for a in summary["alarms"]] == ["cell_spread", "anomaly"]
    assert (summary["scores"], summary["lost"], summary["latency_ms"]["p99"]) == (1, 3, 1.0)


def test_latencies_are_of_the_scores_that_have_one() -> None:
    scores = [score(float(i)) for i in range(100)] + [score(None)]
    summary = summarize(RUN, [], [], [], scores, [])
    assert (summary["scores"], summary["latency_ms"]) == (101, {"p50": 50.0, "p99": 99.0})
    assert summarize(RUN, [], [], [], [], [])["latency_ms"] == {"p50": None, "p99": None}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_and_enough_are_not_above_it(values: list[float], part: float) -> None:
    found = quantile(values, part)
    assert found is not None
    assert found in [round(v, 3) for v in values]
    assert sum(round(v, 3) <= found for v in values) >= part * len(values)


@pytest.mark.parametrize(("part", "value"), [(0.0, 1), (0.5, 3), (1.0, 4)])
def test_quantiles_of_four(part: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], part) == value
