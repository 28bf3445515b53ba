"""Suspect readings: never filtered away, never believed against a good one."""

import pytest

from services.alert.suspect import Pending, Suspicion, Trust, Verdict, trust
from services.bus.messages import SampleId
from tests.alert.builders import BOOT

G, S, M = Trust.GOOD, Trust.SUSPECT, Trust.MISSING


def verdicts(*readings: tuple[float, Trust, bool]) -> list[str]:
    suspicion = Suspicion(period_s=1.0, silence_s=5.0)
    found = []
    for t, kind, beyond in readings:
        pending = Pending(t, 110.0, "suspect", t, SampleId(boot=BOOT, seq=int(t)))
        verdict = suspicion.take(t, kind, beyond, pending if kind is S and beyond else None)
        found.append(verdict.name)
        if verdict is Verdict.CONFIRMED:
            assert suspicion.settle().t == next(t for t, k, b in readings if k is S and b)
    return found


@pytest.mark.parametrize(
    ("then", "verdict"),
    [
        ((1, M, False), "CONFIRMED"),  # the probe died
        ((1, S, True), "CONFIRMED"),
        ((1, G, True), "CONFIRMED"),
        ((1, G, False), "JUDGE"),  # contradicted
        ((1, S, False), "HOLD"),
        ((0.2, S, True), "HOLD"),  # not a period later
        ((5.5, G, False), "CONFIRMED"),  # silence came first
    ],
)
def test_what_follows_a_suspect_reading_decides(then: tuple[float, Trust, bool], verdict: str) -> None:
    assert verdicts((0, S, True), then) == ["HOLD", verdict]


def test_a_suspect_way_back_needs_a_good_reading_to_contradict() -> None:
    assert verdicts((0, S, True), (1, S, False), (2, G, False)) == ["HOLD", "HOLD", "JUDGE"]
    assert verdicts((0, S, True), (1, S, False), (2, S, False)) == ["HOLD", "HOLD", "CONFIRMED"]
    assert verdicts((0, S, True), (1, S, False), (2, M, False)) == ["HOLD", "HOLD", "CONFIRMED"]


def test_good_readings_are_judged_and_missing_ones_hold() -> None:
    assert verdicts((0, G, True), (1, M, False), (2, S, False), (3, G, False)) == ["JUDGE", "HOLD", "HOLD", "JUDGE"]


@pytest.mark.parametrize(
    ("value", "quality", "kind"),
    [
        (1.0, None, G),
        (1.0, "estimated", G),
        (1.0, "suspect", S),
        (66.5, "range", S),
        (None, None, M),
        (85.0, "fault:power_on", M),
    ],
)
def test_trust_follows_the_sensors_mark(value: float | None, quality: str | None, kind: Trust) -> None:
    assert trust(value, quality) is kind
