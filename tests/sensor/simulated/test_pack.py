"""The pack model keeps what physics keeps: charge, heat; a step is as good as many."""

import numpy as np
import pytest

from services.sensor.simulated.cell import reference_cell
from services.sensor.simulated.pack import HEAT_CAPACITY, SEPARATOR_MELTS, Packs
from tests.sensor.simulated.packs import build, currents, rest

CELL = reference_cell()


def test_charge_is_conserved() -> None:
    """What went in is there, in every cell by its own capacity."""
    packs = build(cells=3, capacity=[4.0, 5.0, 6.0])
    before = packs.soc.copy()
    passed = 0.0
    for amperes, dt in currents(500):
        packs.step(np.full(1, amperes, np.float32), dt)
        passed += amperes * dt / 3600
    assert (packs.soc - before)[0] == pytest.approx(passed / np.array([4.0, 5.0, 6.0]), abs=2e-6)


def test_what_a_short_takes_is_its_voltage_over_its_resistance() -> None:
    packs = build(cells=2)
    packs.leak_s[0, 1] = 1 / 20.0
    before, leaked = packs.soc.copy(), 0.0
    for amperes, dt in currents(300):
        leaked += float(packs.inside[0, 1]) / 20.0 * dt / 3600
        packs.step(np.full(1, amperes, np.float32), dt)
    lost = (packs.soc - before)[0, 0] - (packs.soc - before)[0, 1]
    assert lost == pytest.approx(leaked / 5.0, rel=1e-4)


def test_a_rested_cell_shows_its_open_circuit_voltage() -> None:
    packs = build(soc=0.7)
    for _ in range(60):
        packs.step(np.full(1, -5.0, np.float32), 10.0)
    assert abs(float(packs.voltage[0, 0]) - float(CELL.rest_voltage(packs.soc)[0, 0])) > 0.1
    rest(packs, 3 * 3600)
    assert packs.voltage[0] == pytest.approx(CELL.rest_voltage(packs.soc)[0], abs=1e-3)


def test_one_long_step_is_as_good_as_many_short_ones() -> None:
    once, often = build(mass_kg=1e9), build(mass_kg=1e9)  # isothermal
    once.step(np.full(1, 4.0, np.float32), 60.0)
    for _ in range(60):
        often.step(np.full(1, 4.0, np.float32), 1.0)
    assert once.voltage == pytest.approx(often.voltage, abs=2e-4)
    assert once.soc == pytest.approx(often.soc, abs=1e-9)


def test_heat_is_conserved() -> None:
    """Without cooling, what a cell loses as voltage and at its short is in its temperature."""
    packs = build(cells=2, cooling=0.0, conduction=0.0)
    packs.leak_s[0, 1] = 1 / 10.0
    before, heat = packs.temperature.copy(), np.zeros(2)
    for _ in range(200):
        inside = packs.inside[0].copy()
        packs.step(np.full(1, -10.0, np.float32), 1.0)
        through = -10.0 - inside * packs.leak_s[0]  # A through each cell
        source = CELL.rest_voltage(packs.soc)[0]
        heat += -through * (source - packs.inside[0]) + packs.inside[0] ** 2 * packs.leak_s[0]
    warmed = (packs.temperature - before)[0] * 0.068 * HEAT_CAPACITY
    assert warmed == pytest.approx(heat, rel=0.25)  # the model counts overvoltage, not the electrodes' shifted curves
    assert warmed[1] - warmed[0] == pytest.approx(200 * 3.6**2 / 10, rel=0.15)


def test_neighbours_share_heat_and_lose_none_of_it() -> None:
    packs = build(cells=5, cooling=0.0, conduction=0.05)
    packs.temperature[0] = [60, 20, 20, 20, 20]
    total = packs.temperature.sum()
    rest(packs, 4000)
    assert packs.temperature.sum() == pytest.approx(total, abs=0.01)
    assert (np.diff(packs.temperature[0]) < 0).all()


def test_cooling_brings_a_pack_to_the_coolants_temperature() -> None:
    packs = build(cooling=0.5)
    packs.coolant[:] = 5.0
    rest(packs, 3600)
    assert packs.temperature == pytest.approx(5.0, abs=0.01)


def test_a_cell_beyond_help_runs_away_and_takes_its_neighbours() -> None:
    packs = build(cells=3, cooling=0.01, conduction=0.03)
    packs.temperature[0, 0] = 125.0
    for _ in range(1200):
        packs.step(np.zeros(1, np.float32), 1.0)
        assert np.isfinite(packs.temperature).all()
        assert np.isfinite(packs.voltage).all()
    assert packs.melted.all()
    assert (packs.temperature > SEPARATOR_MELTS).any()
    assert (packs.voltage < 0.1).all()
    assert (packs.unreacted >= 0).all()
    cool = build(cells=3, cooling=0.5)
    cool.temperature[0, 0] = 80.0  # within what cooling takes away
    rest(cool, 1800)
    assert not cool.melted.any()


def test_packs_at_once_are_packs_one_by_one() -> None:
    many = build(cells=4, packs=3, soc=[0.3, 0.5, 0.8])
    for amperes, dt in currents(100):
        many.step(np.full(3, amperes, np.float32), dt)
    for number, soc in enumerate((0.3, 0.5, 0.8)):
        one = build(cells=4, soc=soc)
        for amperes, dt in currents(100):
            one.step(np.full(1, amperes, np.float32), dt)
        np.testing.assert_array_equal(one.voltage[0], many.voltage[number])


def test_what_is_computed_seldom_is_near_what_is_computed_always() -> None:
    often, seldom = build(refresh=1), build(refresh=16)
    for amperes, dt in currents(300):
        often.step(np.full(1, amperes, np.float32), dt)
        seldom.step(np.full(1, amperes, np.float32), dt)
    assert isinstance(often, Packs)
    assert seldom.voltage == pytest.approx(often.voltage, abs=1e-3)
