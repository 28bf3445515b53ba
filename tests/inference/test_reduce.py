"""Reduction of samples to steps."""

import pytest

from services.inference.channels import ChannelSpec
from services.inference.reduce import Checkpoint, Reducer, Step

SPECS = (
    ChannelSpec(name="current", role="input", offset=0, scale=1),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0, scale=1),
    ChannelSpec(name="voltage", role="response", offset=0, scale=1),
    ChannelSpec(name="temperature_max", role="response", reduce="last", offset=0, scale=1),
)


def reducer(period_s: float = 1.0, hole_max: int = 3) -> Reducer:
    return Reducer(SPECS, step_s=10.0, period_s=period_s, hole_max=hole_max)


def feed(target: Reducer, rows: list[tuple[float, float | None, float | None, float | None]]) -> list[Step]:
    """rows: mono, current, voltage, temperature."""
    return [
        step
        for seq, (mono, current, voltage, temperature) in enumerate(rows)
        for step in target.add(seq, mono, [current, None, voltage, temperature])
    ]


def test_faster_samples_become_mean_or_last() -> None:
    rows = [(float(t), 36.0, 3.0 + 0.1 * t, 20.0 + t) for t in range(11)]
    (step,) = feed(reducer(), list(rows))
    current, charge, voltage, temperature = step.values
    assert (current, temperature, step.last) == (36.0, 29.0, 9)
    assert voltage == pytest.approx(3.45)
    assert charge == pytest.approx(0.1)  # 36 A for 10 s
    assert all(step.measured)


def test_slower_samples_hold_for_their_own_period() -> None:
    steps = feed(reducer(period_s=30.0), [(0.0, 36.0, 3.0, 20.0), (30.0, 0.0, 3.3, 21.0), (60.0, 0.0, 3.4, 22.0)])
    assert [s.values[2] for s in steps] == [3.0, 3.0, 3.0, 3.3, 3.3, 3.3]
    assert all(all(s.measured) for s in steps)
    assert [round(s.values[1], 6) for s in steps] == [0.1, 0.2, 0.3, 0.3, 0.3, 0.3]


def test_hole_is_held_and_masked() -> None:
    steps = feed(reducer(period_s=10.0), [(0.0, 1.0, 3.0, 20.0), (30.0, 1.0, 3.3, 20.0), (40.0, 1.0, 3.4, 20.0)])
    assert [s.measured[2] for s in steps] == [True, False, False, True]
    assert [s.values[2] for s in steps] == [3.0, 3.0, 3.0, 3.3]
    assert [s.number for s in steps] == [0, 1, 2, 3]


def test_null_is_a_hole_of_its_channel_alone() -> None:
    steps = feed(reducer(10.0), [(0.0, 1.0, 3.0, 20.0), (10.0, 1.0, None, 20.0), (20.0, 1.0, 3.2, 20.0)])
    assert [s.measured for s in steps] == [[True] * 4, [True, True, False, True]]


def test_longer_hole_ends_the_segment_and_charge_begins_again() -> None:
    rows: list[tuple[float, float | None, float | None, float | None]] = [
        (0.0, 36.0, 3.0, 20.0),
        (10.0, 36.0, 3.0, 20.0),
        (100.0, 36.0, 3.0, 20.0),
        (110.0, 36.0, 3.0, 20.0),
    ]
    steps = feed(reducer(10.0, hole_max=3), rows)
    assert [s.number for s in steps] == [0, 1, 0]
    assert [round(s.values[1], 3) for s in steps] == [0.1, 0.2, 0.1]


def test_dead_channel_ends_the_segment_until_it_lives_again() -> None:
    rows: list[tuple[float, float | None, float | None, float | None]] = [
        (10.0 * i, 1.0, 3.0 if i < 3 or i > 9 else None, 20.0) for i in range(13)
    ]
    steps = feed(reducer(10.0, hole_max=3), rows)
    assert [s.number for s in steps] == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_two_samples_of_one_time_and_a_clock_far_back() -> None:
    rows: list[tuple[float, float | None, float | None, float | None]] = [
        (0.0, 1.0, 3.0, 20.0),
        (0.0, 1.0, 4.0, 20.0),
        (10.0, 1.0, 3.0, 20.0),
        (-500.0, 1.0, 3.0, 20.0),
        (-490.0, 1.0, 3.0, 20.0),
    ]
    steps = feed(reducer(10.0), rows)
    assert [(s.number, s.values[2]) for s in steps] == [(0, 3.5), (0, 3.0)]


def test_gap_of_years_costs_nothing() -> None:
    steps = feed(reducer(1.0), [(0.0, 1.0, 3.0, 20.0), (3e9, 1.0, 3.0, 20.0), (3e9 + 10, 1.0, 3.0, 20.0)])
    assert [s.number for s in steps] == [0, 0]


def test_checkpoint_survives_json() -> None:
    target = reducer(10.0)
    feed(target, [(0.0, 1.1, 3.0, None), (10.0, 0.1, 3.0, 20.0)])
    import json

    opening = target.opening
    assert Checkpoint.from_dict(json.loads(json.dumps(opening.as_dict()))) == opening
