"""Decimation never loses a peak, a hole, or an end."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.decimation import MAX_POINTS, decimate, usual_gap_s, with_gaps

readings = st.lists(st.none() | st.floats(-1e4, 1e4), min_size=0, max_size=3000)


@given(readings, st.integers(5, 700))
def test_extremes_ends_and_order_survive(values: list[float | None], max_points: int) -> None:
    times = [float(i) for i in range(len(values))]
    kept_times, kept = decimate(times, values, max_points)
    assert len(kept) == len(kept_times) <= max(max_points, 0)
    assert kept_times == sorted(set(kept_times))
    assert all(values[int(t)] == v for t, v in zip(kept_times, kept, strict=True))
    known = [v for v in values if v is not None]
    if known:
        assert max(known) in kept
        assert min(known) in kept
    if values:
        assert (kept_times[0], kept_times[-1]) == (0.0, len(values) - 1)


@given(readings)
def test_a_hole_is_still_a_hole(values: list[float | None]) -> None:
    assert (None in values) == (None in decimate(list(range(len(values))), values)[1])


def test_few_points_are_left_alone() -> None:
    assert decimate([1.0, 2.0], [3.0, None]) == ([1.0, 2.0], [3.0, None])


def test_one_sample_of_a_spike_in_a_week_is_kept() -> None:
    values: list[float | None] = [29.0] * 600_000
    values[123_456] = 109.0
    kept = decimate(range(600_000), values)[1]
    assert 109.0 in kept
    assert len(kept) <= MAX_POINTS


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 times, 1 values"):
        decimate([1.0, 2.0], [1.0])


def test_a_long_pause_breaks_the_line() -> None:
    assert with_gaps([0, 1, 100], [1.0, 2.0, 3.0], 5) == ([0, 1, 50.5, 100], [1.0, 2.0, None, 3.0])
    assert with_gaps([0, 1, 100], [1.0, 2.0, 3.0], math.inf)[1] == [1.0, 2.0, 3.0]


def test_the_usual_pause_breaks_no_line() -> None:
    assert usual_gap_s([0, 60, 120, 180, 9000]) == 600
    assert usual_gap_s([0, 0.1, 0.2]) == 5.0
    assert usual_gap_s([1.0]) == 5.0
