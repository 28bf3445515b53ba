"""A device through all estimators: right within their errors, blind to bad readings, the same after a restart."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bus.messages import Sample
from services.inference.estimators.chemistry import load_chemistry
from services.inference.estimators.physics import Physics
from services.inference.estimators.quantity import Quantity
from services.inference.estimators.reading import Facts
from tests.inference.estimators.cell import OTHER, Cell, sample

NMC = load_chemistry("NMC")
TOLD = Facts(NMC, 2.6, 1)


def run(cell: Cell, facts: Facts, days: float) -> tuple[list[tuple[float, dict[str, Quantity]]], Physics]:
    """(true state of charge, estimates) each time that they are due."""
    physics, found = Physics(facts), []
    for one, soc in cell.samples(days):
        if physics.take(one):
            found.append((soc, physics.estimates()))
    return found, physics


@pytest.fixture(scope="module")
def healthy() -> list[tuple[float, dict[str, Quantity]]]:
    return run(Cell(offset=0.004), TOLD, 4)[0]


def test_estimates_come_once_a_minute_and_are_json(healthy: list[tuple[float, dict[str, Quantity]]]) -> None:
    assert 4 * 1440 - 10 <= len(healthy) <= 4 * 1440 + 30
    json.dumps(healthy[-1][1], allow_nan=False)


def test_state_of_charge_is_right_within_its_error(healthy: list[tuple[float, dict[str, Quantity]]]) -> None:
    pairs = [(soc, known["soc"]) for soc, known in healthy[1440:]]
    error = np.array([q.value - soc for soc, q in pairs])
    claimed = np.array([q.error for _, q in pairs])
    assert np.abs(error).mean() < 0.02
    assert (np.abs(error) < 3 * claimed).mean() > 0.99


def test_resistance_is_that_of_the_steps() -> None:
    physics = Physics(TOLD)
    for one, _ in Cell().samples(1, 10.0):
        physics.take(one.model_copy(update={"channels": _pulsed(one)}))
    value, error = physics.estimates()["resistance"]
    assert abs(value - 0.04) < 3 * error
    assert error < 0.002


def _pulsed(one: Sample) -> dict[str, Any]:
    """Its readings with a pulse of 1 A on every other minute."""
    pulse = 1.0 if int(one.mono / 60) % 2 else 0.0
    voltage, current = one.channels["voltage"], one.channels["current"]
    assert isinstance(voltage, float)
    assert isinstance(current, float)
    return {"voltage": voltage + 0.04 * pulse, "current": current + pulse}


def test_offset_capacity_and_no_leak_are_found(healthy: list[tuple[float, dict[str, Quantity]]]) -> None:
    known = healthy[-1][1]
    for name, true in (("current_offset", 0.004), ("capacity", 2.6), ("leak_current", 0.0)):
        value, error = known[name]
        assert abs(value - true) < 3 * error + 1e-4, name
    assert known["leak_rate"].value < 0.001


def test_a_leak_is_read_and_resets_do_not_hide_it() -> None:
    found, _ = run(Cell(leak=0.03), TOLD, 5)
    value, error = found[-1][1]["leak_current"]
    assert 0.024 < value < 0.033  # what exceeds the greatest bias that a healthy device may have stays visible
    assert value - 3 * error > 0.002 * 2.6  # the shipped rule raises
    soc = np.array([q["soc"].value - s for s, q in found[3 * 1440 :] if "soc" in q])
    assert np.abs(soc).mean() < 0.03


def test_a_measured_bias_is_taken_off_whole() -> None:
    found, _ = run(Cell(leak=0.01), Facts(NMC, 2.6, 1, None, 0.01), 3)
    value, error = found[-1][1]["leak_current"]
    assert abs(value) < 3 * error


def test_nothing_is_made_up_for_a_device_of_which_nothing_is_told() -> None:
    known = run(Cell(), Facts(), 2)[0][-1][1]
    assert set(known) <= {"resistance", "temperature_rate", "current_offset"}
    without_capacity = run(Cell(), Facts(NMC, None, 1), 3)[0]
    assert "soc" not in without_capacity[0][1]
    value, error = without_capacity[-1][1]["capacity"]  # learned
    assert abs(value - 2.6) < 3 * error


def test_voltage_under_load_tells_no_state_of_charge() -> None:
    physics = Physics(TOLD)
    for i in range(2000):
        physics.take(sample(i, 10.0 * i, {"voltage": 3.6, "current": -0.5}))
    assert "soc" not in physics.estimates()


@pytest.mark.parametrize("mark", ["fault:crc", "range", "suspect", "estimated"])
def test_readings_with_a_mark_are_not_used(mark: str) -> None:
    clean, spoiled = Physics(TOLD), Physics(TOLD)
    for one, _ in Cell().samples(1):
        bad = one.seq % 7 == 3
        if bad:
            wrong = {"voltage": 9.9, "current": 500.0, "temperature_max": 900.0}
            spoiled.take(one.model_copy(update={"channels": wrong, "quality": dict.fromkeys(wrong, mark)}))
            wrong_none: dict[str, Any] = dict.fromkeys(wrong)
            clean.take(one.model_copy(update={"channels": wrong_none}))
        else:
            spoiled.take(one)
            clean.take(one)
    assert spoiled.estimates() == clean.estimates()


def test_a_gap_widens_the_error_and_ends_the_cycle() -> None:
    whole, holed = Physics(TOLD), Physics(TOLD)
    errors: list[tuple[float, float]] = []
    for one, _ in Cell().samples(2.5):
        whole.take(one)
        hours = one.mono / 3600
        if 24 + 4.2 < hours < 24 + 6:
            continue
        holed.take(one)
        if 30.0 <= hours < 30.1:
            known = whole.estimates().get("soc"), holed.estimates().get("soc")
            errors.append((known[0].error if known[0] else 1.0, known[1].error if known[1] else 1.0))
    assert errors
    assert all(after > before for before, after in errors)
    assert whole.state()["parts"]["leak"]["cycles"] > holed.state()["parts"]["leak"]["cycles"]


def test_the_sensors_own_restart_is_bridged_by_the_calendar() -> None:
    physics, shifted = Physics(TOLD), 40_000.0
    for one, _ in Cell().samples(2):
        again = one.mono >= shifted
        moved = {"boot": OTHER, "mono": one.mono - shifted, "seq": one.seq - int(shifted / 30)} if again else {}
        physics.take(one.model_copy(update=moved))
    assert physics.state()["parts"]["counter"]["gaps"] == 0
    assert physics.state()["parts"]["counter"]["t"] == pytest.approx(2 * 86_400 - 30)


def test_a_clock_that_nobody_set_makes_a_gap() -> None:
    physics = Physics(TOLD)
    physics.take(sample(0, 0.0, {"current": 1.0}))
    physics.take(sample(0, 5.0, {"current": 1.0}, boot=OTHER, time_source="none"))
    assert physics.state()["parts"]["counter"]["gaps"] == 1


@pytest.fixture(scope="module")
def recorded() -> tuple[list[Sample], list[tuple[int, dict[str, Quantity]]]]:
    samples = [one for one, _ in Cell(leak=0.01).samples(1.5, 60.0)]
    physics = Physics(TOLD)
    return samples, [(s.seq, physics.estimates()) for s in samples if physics.take(s)]


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(0, 2100))
def test_a_restart_anywhere_gives_the_same_estimates(
    recorded: tuple[list[Sample], list[tuple[int, dict[str, Quantity]]]], cut: int
) -> None:
    samples, expected = recorded
    first, second = Physics(TOLD), Physics(TOLD)
    found = [(s.seq, first.estimates()) for s in samples[:cut] if first.take(s)]
    assert second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    # some of what was taken already is delivered again
    found += [(s.seq, second.estimates()) for s in samples[max(cut - 50, 0) :] if second.take(s)]
    assert found == expected


def test_a_state_of_other_facts_is_not_gone_on_with() -> None:
    physics = Physics(TOLD)
    physics.take(sample(0, 0.0, {"current": 1.0}))
    assert not Physics(Facts(NMC, 2.7, 1)).restore(physics.state())
    assert not Physics(TOLD).restore(physics.state() | {"version": 0})
