"""Windows out of steps, whatever the speed, the holes and the restarts."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.channels import ChannelSpec
from services.inference.phase import Cell
from services.inference.reduce import Reducer
from services.inference.window import Domain, Windows, WindowSteps, checkpoint

SPECS = (
    ChannelSpec(name="current", role="input", offset=0, scale=1),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0, scale=1),
    ChannelSpec(name="voltage", role="response", offset=0, scale=1),
)
PHASE_SPECS = (
    *SPECS,
    ChannelSpec(name="phase_charge", role="input", derived="phase_charge", offset=0, scale=1),
    ChannelSpec(name="c_rate_100", role="input", derived="c_rate_average", seconds=100, offset=0, scale=1),
    ChannelSpec(name="first", role="input", derived="phase_first_voltage", offset=0, scale=1),
)
CELL = Cell(capacity_ah=300.0, chemistry="nmc811")  # the currents below are up to 500 A
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

    def __init__(
        self, period_s: float, state: dict[str, Any] | None = None, specs: tuple[ChannelSpec, ...] = SPECS
    ) -> None:
        self.reducer = Reducer(specs, 10.0, period_s, HOLE_MAX, CELL)
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


drives = st.lists(  # mostly without holes: charges and discharges of some length, turns and rests
    st.tuples(st.sampled_from([-200.0, -60.0, 0.0, 5.0, 100.0]), st.integers(1, 25)), min_size=2, max_size=8
).map(lambda parts: [(10.0, current, 3.5) for current, steps in parts for _ in range(steps)])


@given(
    st.one_of(recordings, drives), st.sampled_from([1.0, 10.0, 30.0]), st.sampled_from([SPECS, PHASE_SPECS]), st.data()
)
@settings(max_examples=250, deadline=None)
def test_restarts_change_nothing(
    recording: list[tuple[float, float | None, float]], period_s: float, specs: tuple[ChannelSpec, ...], data: Any
) -> None:
    rows = rows_of(recording)
    whole = Run(period_s, specs=specs)
    expected = [k for seq, row in enumerate(rows) for k, _ in whole.add(seq, row)]

    kills = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=4))
    got: list[Key] = []
    run, state, seq = Run(period_s, specs=specs), None, 0
    for kill in sorted(kills):
        while seq <= kill:
            for k, after in run.add(seq, rows[seq]):
                got.append(k)
                state = after  # remembered together with the score
            seq += 1
        if data.draw(st.booleans()):
            state = run.windows.resume(run.reducer)  # remembered on a tick
        run = Run(period_s, state, specs)
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


def phases_of(currents: list[float]) -> list[Key]:
    run = Run(10.0, specs=PHASE_SPECS)
    rows: list[Row] = [(10.0 * i, [current, None, 3.0, None, None, None]) for i, current in enumerate(currents)]
    return [k for seq, row in enumerate(rows) for k, _ in run.add(seq, row)]


def test_windows_of_a_phase_never_span_a_rest_or_a_turn() -> None:
    first_of = [k[0] for k in phases_of([0.0] * 5 + [100.0] * 20 + [0.0] * 20 + [-100.0] * 12 + [100.0] * 30)]
    charge = [first for first in first_of if first < 45]
    assert charge == list(range(5, 5 + 20 + 12 - LENGTH + 1, STRIDE))  # twelve steps of rest still belong to it
    assert first_of[len(charge) :] == [
        *range(45, 45 + 22 - LENGTH + 1, STRIDE),  # ten steps of charge: known as a turn when 1 % has come back
        *range(67, 87 - LENGTH, STRIDE),
    ]


def test_at_rest_a_restart_goes_back_to_the_rest_only() -> None:
    run = Run(10.0, specs=PHASE_SPECS)
    for i in range(200):
        run.add(i, (10.0 * i, [100.0 if i < 50 else 0.0, None, 3.0, None, None, None]))
    assert run.windows.resume(run.reducer)["seq"] >= 198


def test_a_window_outside_of_the_bundle_s_domain_is_passed_over() -> None:
    every = (np.full(3, -np.inf, np.float32), np.full(3, np.inf, np.float32))
    charge = (np.array([-np.inf, -np.inf, 2.9], np.float32), np.array([np.inf, np.inf, 3.1], np.float32))
    found: dict[float, list[int]] = {}
    for current in (1.0, -1.0):
        run = Run(10.0)
        run.windows = Windows(LENGTH, STRIDE, HOLES_MAX, Domain(0, charge, every))  # the sign of the current: the phase
        rows: list[Row] = [(10.0 * i, [current, None, 3.0 if i < 20 else 3.2]) for i in range(40)]
        found[current] = [k[0] for seq, row in enumerate(rows) for k, _ in run.add(seq, row)]
        assert run.windows.out_of_domain == run.windows.passed_over
    assert found == {1.0: list(range(0, 20 - LENGTH + 1, STRIDE)), -1.0: list(range(0, 39 - LENGTH + 1, STRIDE))}


def test_state_of_another_version_is_not_used() -> None:
    state = Run(10.0).windows.resume(Run(10.0).reducer)
    assert checkpoint(state | {"version": 999}) is None
    assert checkpoint({"version": state["version"], "seq": 1}) is None
