"""Phases: where a charge or discharge begins and ends in live data, and what is counted in it."""

import json
from dataclasses import replace
from math import exp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.channels import ChannelSpec, PhaseReader
from services.inference.phase import REST_S, Cell, Count, Phase, Phases

CELL = Cell(capacity_ah=2.0, chemistry="NCM811")  # the other spelling
STEP_S = 10.0
Known = tuple[int, int]  # direction, number


def follow(currents: list[float], phases: Phases | None = None, voltage: float = 3.7) -> list[Phase | None]:
    """Steps of those mean currents [A]; what is counted follows. Each voltage is 1 mV above the one before."""
    phases = phases or Phases(CELL, STEP_S, [100.0])
    counted = 0.0
    found: list[Phase | None] = []
    for i, current in enumerate(currents):
        counted += current * STEP_S / 3600
        phase = phases.add(voltage + i / 1000, current, counted)
        # the count goes on changing: keep what it is now
        found.append(None if phase is None else replace(phase, count=Count.from_list(phase.count.as_list())))
    return found


def known(found: list[Phase | None]) -> list[Known | None]:
    return [None if phase is None else (phase.direction, phase.number) for phase in found]


def test_a_phase_begins_with_current_and_ends_after_a_rest() -> None:
    rest = int(REST_S / STEP_S)
    found = known(follow([0.0, 0.02, 1.0, 1.0, *[0.0] * (rest + 2), -1.0]))
    assert found[:4] == [None, None, (1, 0), (1, 1)]
    assert found[4 : 4 + rest] == [(1, 2 + i) for i in range(rest)]
    assert found[4 + rest :] == [None, None, (-1, 0)]


def test_what_is_counted_since_it_began() -> None:
    last = follow([0.0, 1.0, 1.0, 1.0])[-1]
    assert last is not None
    assert last.c_rate == 0.5
    assert last.count.first_voltage == pytest.approx(3.701)
    assert last.count.first_c_rate == 0.5
    assert last.count.time_s == 30.0
    assert last.count.charge == pytest.approx(30 / 3600 / 2)
    assert last.count.averages == [pytest.approx(0.5 * (1 - exp(-0.3)))]


def test_regenerative_pulses_stay_inside_a_discharge() -> None:
    dst = [-1.0, -2.0, 2.7, 0.0, 0.0, -0.5] * 20
    assert [k and k[0] for k in known(follow(dst))] == [-1] * len(dst)
    assert known(follow(dst))[-1] == (-1, len(dst) - 1)


def test_a_turn_without_a_rest_begins_a_phase_where_the_charge_turned() -> None:
    found = follow([-1.0] * 30 + [1.0] * 30)
    turn = next(i for i, phase in enumerate(found) if phase is not None and phase.direction == 1)
    assert 30 < turn < 40  # known only once 1 % has come back: 72 s
    assert known(found)[turn:] == [(1, i) for i in range(60 - turn)]
    last, other = found[-1], follow([1.0] * 30, voltage=3.73)[-1]
    assert last is not None
    assert other is not None
    assert last.count.as_list() == pytest.approx(other.count.as_list())  # as if it had begun after a rest


@given(st.lists(st.floats(-6, 6, width=32), max_size=80), st.integers(0, 80))
@settings(max_examples=60, deadline=None)
def test_a_state_carries_everything(currents: list[float], cut: int) -> None:
    phases = Phases(CELL, STEP_S, [30.0, 1000.0])
    counted = 0.0
    for i, current in enumerate(currents):
        counted += current / 360
        if i == cut:
            state = json.loads(json.dumps(phases.state()))
            phases = Phases(CELL, STEP_S, [30.0, 1000.0])
            phases.restore(state)
        phases.add(3.7, current, counted)
    whole = Phases(CELL, STEP_S, [30.0, 1000.0])
    counted = 0.0
    for current in currents:
        counted += current / 360
        whole.add(3.7, current, counted)
    assert phases.state() == whole.state()


def test_columns_of_a_bundle() -> None:
    scaler: dict[str, Any] = {"role": "input", "offset": 0.0, "scale": 1.0}
    specs = [
        ChannelSpec(name="voltage", **scaler),
        ChannelSpec(name="slow", derived="c_rate_average", seconds=100.0, **scaler),
        ChannelSpec(name="kind", derived="chemistry", among=("LFP", "NMC811"), **scaler),
        ChannelSpec(name="direction", derived="phase", **scaler),
    ]
    reader = PhaseReader(specs, CELL)
    assert reader.seconds == [100.0]
    (phase,) = follow([-1.0])
    assert phase is not None
    values = [9.0, 0.0, 0.0, 0.0]
    reader.fill(values, phase)
    assert values == [9.0, pytest.approx(-0.5 * (1 - exp(-0.1))), 1.0, -1.0]
    with pytest.raises(ValueError, match="chemistry LFP is not among NMC811"):
        PhaseReader([specs[2].model_copy(update={"among": ("NMC811",)})], Cell(capacity_ah=1, chemistry="LFP"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"derived": "c_rate_average"}, "`seconds` belongs to a c_rate_average"),
        ({"derived": "phase", "seconds": 3.0}, "`seconds` belongs to a c_rate_average"),
        ({"derived": "chemistry"}, "`among` belongs to a chemistry"),
        ({"derived": "phase", "role": "response"}, "is an input and nothing else"),
        ({"derived": "charge"}, "is called so"),
    ],
)
def test_a_column_that_makes_no_sense_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ChannelSpec.model_validate({"name": "x", "role": "input", "offset": 0, "scale": 1} | fields)
