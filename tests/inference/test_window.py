"""Windows out of steps, whatever the speed, the holes and the restarts."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.channels import ChannelSpec
from services.inference.reduce import Reducer
from services.inference.window import Windows, WindowSteps, checkpoint

SPECS = (
    ChannelSpec(name="current", role="input", offset=0, scale=1),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0, scale=1),
    ChannelSpec(name="voltage", role="response", offset=0, scale=1),
)
LENGTH, STRIDE, HOLES_MAX, HOLE_MAX = 8, 3, 4, 2
Row = tuple[float, list[float | None]]
Key = tuple[int, int, int, bytes, bytes]

values = st.one_of(st.none(), st.floats(-500, 500, width=32))
steps = st.sampled_from([0.0, 0.5, 1.0, 5.0, 10.0, 10.0, 10.0, 11.0, 19.0, 30.0, 45.0, 400.0, -100.0])
recordings = st.lists(st.tuples(steps, values, st.floats(2, 5, width=32)), min_size=20, max_size=120)


def rows_of(recording: list[tuple[float, float | None, float]]) -> list[Row]:
    mono, rows = 100.0, []
    for step, current, voltage in recording:
        mono += step
        rows.append((mono, [current, None, voltage]))
    return rows


def key(window: WindowSteps) -> Key:
    return window.first, window.last, window.holes, window.values.tobytes(), window.mask.tobytes()


class Run:
    """One process: reducer and windows, from nothing or from a state."""

    def __init__(self, period_s: float, state: dict[str, Any] | None = None) -> None:
        self.reducer = Reducer(SPECS, 10.0, period_s, HOLE_MAX)
        self.windows = Windows(LENGTH, STRIDE, HOLES_MAX)
        self.needed = 0
        if state is not None:
            opening = checkpoint(json.loads(json.dumps(state)))
            assert opening is not None
            self.reducer.restore(opening)
            self.needed = opening.seq

    def add(self, seq: int, row: Row) -> list[tuple[Key, dict[str, Any]]]:
        found = []
        for step in self.reducer.add(seq, *row):
            window = self.windows.add(step)
            if window is not None:
                found.append((key(window), self.windows.resume(self.reducer)))
        return found


@given(recordings, st.sampled_from([1.0, 10.0, 30.0]), st.data())
@settings(max_examples=150, deadline=None)
def test_restarts_change_nothing(
    recording: list[tuple[float, float | None, float]], period_s: float, data: Any
) -> None:
    rows = rows_of(recording)
    whole = Run(period_s)
    expected = [k for seq, row in enumerate(rows) for k, _ in whole.add(seq, row)]

    kills = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=4))
    got: list[Key] = []
    run, state, seq = Run(period_s), None, 0
    for kill in sorted(kills):
        while seq <= kill:
            for k, after in run.add(seq, rows[seq]):
                got.append(k)
                state = after  # remembered together with the score
            seq += 1
        if data.draw(st.booleans()):
            state = run.windows.resume(run.reducer)  # remembered on a tick
        run = Run(period_s, state)
        seq = run.needed
    for at in range(seq, len(rows)):
        got += [k for k, _ in run.add(at, rows[at])]
    assert got == expected


@given(recordings)
@settings(max_examples=100, deadline=None)
def test_windows_hold_what_they_promise(recording: list[tuple[float, float | None, float]]) -> None:
    run = Run(10.0)
    for seq, row in enumerate(rows_of(recording)):
        for step in run.reducer.add(seq, *row):
            window = run.windows.add(step)
            if window is None:
                continue
            assert window.values.shape == window.mask.shape == (LENGTH, len(SPECS))
            assert np.isfinite(window.values).all()
            assert set(np.unique(window.mask)) <= {0.0, 1.0}
            assert window.holes == int((window.mask.min(1) == 0).sum()) <= HOLES_MAX
            assert 0 <= window.first <= window.last < seq
            assert (step.number + 1 - LENGTH) % STRIDE == 0


def test_window_each_stride_of_a_gapless_recording() -> None:
    run = Run(10.0)
    rows: list[Row] = [(10.0 * i, [1.0, None, 3.0]) for i in range(30)]
    found = [k[:3] for seq, row in enumerate(rows) for k, _ in run.add(seq, row)]
    assert found == [(first, first + LENGTH - 1, 0) for first in range(0, 22, STRIDE)]


def test_window_with_too_many_holes_is_passed_over() -> None:
    run = Run(10.0)
    rows: list[Row] = [(30.0 * i, [1.0, None, 3.0]) for i in range(12)]  # two of three steps are holes
    assert [k for seq, row in enumerate(rows) for k, _ in run.add(seq, row)] == []
    assert run.windows.passed_over > 0


def test_state_of_another_version_is_not_used() -> None:
    state = Run(10.0).windows.resume(Run(10.0).reducer)
    assert checkpoint(state | {"version": 999}) is None
    assert checkpoint({"version": state["version"], "seq": 1}) is None
