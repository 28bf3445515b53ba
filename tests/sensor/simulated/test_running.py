"""A running pack: what is asked, what fails when, what a reading says; the same seed gives the same readings."""

from typing import Any

import numpy as np
import pytest

from services.bus.messages import Values
from services.sensor.simulated.config import PackConfig
from services.sensor.simulated.running import RunningPack

REST = {"do": "rest", "minutes": 60}
SMALL: dict[str, Any] = {"cells": 6, "probes": 3, "soc": 0.5, "day": [REST]}


def pack(seed: int = 1, number: int = 0, **changes: Any) -> RunningPack:
    return RunningPack(PackConfig.model_validate(SMALL | changes), seed, number)


def readings(one: RunningPack, seconds: int) -> list[dict[str, Values]]:
    made = []
    for _ in range(seconds):
        one.advance(1.0)
        made.append(one.read()[0])
    return made


def cells(reading: dict[str, Values]) -> np.ndarray:
    return np.array(reading["cell_voltages"])


def below(reading: dict[str, Values], cell: int) -> float:
    """V by which a cell is below the mean of the others."""
    values = cells(reading)
    return float(np.delete(values, cell).mean() - values[cell])


def test_the_same_seed_gives_the_same_readings_and_another_pack_others() -> None:
    day = [{"do": "drive", "minutes": 2}, {"do": "charge", "minutes": 1}]
    first = readings(pack(day=day), 200)
    assert first == readings(pack(day=day), 200)
    assert first[0] != readings(pack(seed=2, day=day), 1)[0]
    assert first[0] != readings(pack(number=1, day=day), 1)[0]


def test_a_reading_has_every_channel_of_its_device() -> None:
    reading = readings(pack(), 1)[0]
    assert set(reading) == {"voltage", "current", "soc", "cell_voltages", "temperatures"}
    assert len(cells(reading)) == 6
    assert len(reading["temperatures"]) == 3  # type: ignore[arg-type]
    assert reading["voltage"] == pytest.approx(cells(reading).sum(), abs=1e-3)


def test_the_day_begins_again_when_it_is_over() -> None:
    day = [{"do": "charge", "c_rate": 0.5, "minutes": 1}, {"do": "rest", "minutes": 1}]
    current = np.array([r["current"] for r in readings(pack(day=day), 240)], float)
    assert current[[30, 150]] == pytest.approx(2.5, rel=0.02)
    assert np.abs(current[[90, 210]]).max() < 0.05


def test_the_told_state_of_charge_counts_the_read_current() -> None:
    day = [{"do": "charge", "c_rate": 0.5, "minutes": 60}]
    one = pack(day=day, capacity_ah=4.0)
    made = readings(one, 1200)
    counted = np.array([r["current"] for r in made], float).sum() / 3600 / 4.0
    assert made[-1]["soc"] == pytest.approx(0.5 + counted, abs=1e-4)


def test_a_charge_stops_at_its_voltage() -> None:
    day = [{"do": "charge", "c_rate": 1.0, "until_v": 4.1, "minutes": 180}]
    one = pack(day=day, soc=0.85, ambient=25)
    for _ in range(360):
        one.advance(10.0)
    reading = one.read()[0]
    assert cells(reading).max() == pytest.approx(4.1, abs=0.012)
    assert 0 <= float(reading["current"]) < 0.3 * 5  # type: ignore[arg-type]


def test_a_drive_discharges_and_brakes() -> None:
    current = np.array([r["current"] for r in readings(pack(day=[{"do": "drive", "minutes": 20}]), 900)], float)
    assert current.mean() < -0.2
    assert current.max() > 0.5
    assert current.min() >= -3.1 * 5


def test_a_fault_begins_when_planned_and_grows() -> None:
    short = {"kind": "internal_short", "size": 5, "cell": 2, "begins_s": 300, "grows_s": 600}
    one = pack(faults=[short])
    told = [below(r, 2) for r in readings(one, 1500)]
    assert abs(told[290] - told[0]) < 0.002
    assert told[600] < told[900] < told[1490]
    assert told[1490] > told[0] + 0.04


def test_imbalance_is_brought_once_and_stays() -> None:
    one = pack(faults=[{"kind": "imbalance", "size": -0.1, "cell": 4, "begins_s": 100, "grows_s": 100}])
    begin = one._packs.soc[0].copy()
    readings(one, 99)
    assert one._packs.soc[0] == pytest.approx(begin, abs=1e-4)
    readings(one, 200)
    moved = one._packs.soc[0] - begin
    assert moved[4] == pytest.approx(-0.1, abs=1e-3)
    assert np.delete(moved, 4) == pytest.approx(0.0, abs=1e-3)


def test_a_probe_dies_in_a_fire_and_stays_dead() -> None:
    one = pack()
    one._packs.temperature[0, 0] = 400.0
    one.advance(1.0)
    one.read()
    one._packs.temperature[0, 0] = 30.0
    one.advance(1.0)
    assert one.read()[1] == {"temperatures[0]": "no_answer"}


def test_a_long_sleep_is_made_up_for() -> None:
    one, other = pack(), pack()
    one.advance(600.0)
    for _ in range(60):
        other.advance(10.0)
    assert one._elapsed == pytest.approx(other._elapsed)
    np.testing.assert_allclose(one._packs.soc, other._packs.soc)
