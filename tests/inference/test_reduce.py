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


def test_a_rest_holds_for_as_long_as_it_announced() -> None:
    target = reducer(hole_max=0)
    steps = [s for n in range(4) for s in target.add(n, 30.0 * n + 3, [0.0, None, 3.7, 20.0], 30.0)]
    assert len(steps) == 9
    assert all(all(s.measured) and s.values[2] == 3.7 for s in steps)
    target = reducer(hole_max=0)
    assert [s.measured[2] for n in range(3) for s in target.add(n, 30.0 * n + 3, [0.0, None, 3.7, 20.0])] == [True] * 2


@pytest.mark.parametrize("rest_s", [4.0, 10.0, 25.0])
@pytest.mark.parametrize("wakes_at", [33.0, 40.0, 47.0])
def test_samples_that_are_seldom_at_rest_give_the_steps_of_steady_ones(rest_s: float, wakes_at: float) -> None:
    """A load that begins in mid-step weighs what it lasted, not the number of its samples."""

    def row(t: float) -> list[float | None]:
        return [0.0, None, 3.7, 20.0] if t < wakes_at else [-50.0, None, 3.4, 21.0]

    steady, seldom = reducer(), reducer()
    expected = [s for t in range(81) for s in steady.add(t, float(t), row(t))]
    found, t, seq = [], 0.0, 0
    while t <= 80:
        resting = t < wakes_at
        found += seldom.add(seq, t, row(t), rest_s if resting else None)
        state = seldom.opening.as_dict()
        assert Checkpoint.from_dict(state) == seldom.opening
        t, seq = (min(t + rest_s, wakes_at) if resting else t + 1.0), seq + 1
    assert [s.measured for s in found] == [s.measured for s in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-9)


def test_a_rest_goes_on_from_a_checkpoint_as_without_one() -> None:
    times = [0.0, 7.0, 14.0, 21.0, 28.0, 35.0, 36.0, 37.0, 45.0, 52.0]
    rows = [(n, t, [0.1 * n, None, 3.7 + 0.01 * n, 20.0], 7.0 if n < 5 else None) for n, t in enumerate(times)]
    whole = reducer()
    expected = [s for n, t, row, next_s in rows for s in whole.add(n, t, list(row), next_s)]
    for cut in range(1, len(rows)):
        first = reducer()
        before = [s for n, t, row, next_s in rows[:cut] for s in first.add(n, t, list(row), next_s)]
        again = reducer()
        again.restore(Checkpoint.from_dict(first.opening.as_dict()))
        after = [s for n, t, row, next_s in rows if n >= first.opening.seq for s in again.add(n, t, list(row), next_s)]
        assert [(s.values, s.measured) for s in before + after] == [(s.values, s.measured) for s in expected]


def test_a_rest_that_lasts_longer_than_it_announced_is_a_hole() -> None:
    target = reducer(hole_max=3)
    assert target.add(0, 3.0, [0.0, None, 3.7, 20.0], 10.0) == []
    steps = target.add(1, 43.0, [0.0, None, 3.7, 20.0], 10.0)
    assert [s.measured[2] for s in steps] == [True, True, False, False]
