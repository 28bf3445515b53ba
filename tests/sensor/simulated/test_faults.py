"""Each fault does what its physics says, and nothing else."""

import numpy as np
import pytest

from services.sensor.simulated.faults import (
    CELL_ERROR_MAX,
    CELL_TYPICAL_V,
    FADE_RESISTANCE,
    KINDS,
    RANGES,
    Fault,
    Healthy,
    Kind,
    apply,
    module_of,
    remember,
)
from services.sensor.simulated.measuring import DS18B20_ERROR_MAX, DS18B20_STEP, Sensors, draw_sensors
from services.sensor.simulated.pack import Packs
from tests.sensor.simulated.packs import build, rest

CELLS, BAD = 24, 13
DRAW = np.random.default_rng(0)


def pack(**changes: float) -> tuple[Packs, Sensors, Healthy]:
    packs = build(cells=CELLS, **changes)  # type: ignore[arg-type]
    sensors = draw_sensors(1, CELLS, CELLS, 30.0, np.random.default_rng(1))
    return packs, sensors, remember(packs, sensors)


def with_fault(fault: Fault, **changes: float) -> tuple[Packs, Sensors]:
    packs, sensors, healthy = pack(**changes)
    apply(fault, 1.0, 0, packs, sensors, healthy)
    return packs, sensors


def flow(packs: Packs, amperes: float, seconds: float) -> None:
    for _ in range(round(seconds / 10)):
        packs.step(np.full(1, amperes, np.float32), 10.0)


def others(values: np.ndarray) -> np.ndarray:
    return np.delete(values[0], BAD)


def test_a_short_discharges_and_warms_its_cell_alone_and_no_current_shows_it() -> None:
    packs, sensors = with_fault(Fault("internal_short", 10.0, BAD))
    rest(packs, 3600)
    lost = 0.5 - packs.soc[0, BAD]
    assert lost == pytest.approx(3.7 / 10 / 5, rel=0.05)  # V / ohm x 1 h / Ah
    assert others(packs.soc) == pytest.approx(0.5, abs=1e-9)
    assert packs.temperature[0, BAD] == packs.temperature.max() > 30
    assert packs.voltage[0, BAD] == packs.voltage.min() < others(packs.voltage).min() - 0.02
    read = sensors.current(np.zeros(1, np.float32), DRAW)
    assert abs(float(read[0])) < 0.001 * 30


def test_a_joint_shows_under_load_only() -> None:
    packs, _ = with_fault(Fault("joint", 2.0, BAD), mass_kg=1e9)  # isothermal
    rest(packs, 600)
    assert packs.voltage[0, BAD] == pytest.approx(others(packs.voltage).mean(), abs=1e-4)
    flow(packs, -10.0, 60)
    sag = others(packs.voltage).mean() - packs.voltage[0, BAD]
    assert sag == pytest.approx(10.0 * 2e-3, rel=0.01)
    flow(packs, 10.0, 60)
    assert packs.voltage[0, BAD] - others(packs.voltage).mean() == pytest.approx(10.0 * 2e-3, rel=0.01)
    assert packs.soc[0, BAD] == pytest.approx(others(packs.soc).mean(), abs=1e-9)
    packs, _ = with_fault(Fault("joint", 2.0, BAD))
    flow(packs, 10.0, 600)
    assert packs.temperature[0, BAD] > others(packs.temperature).max()


def test_a_faded_cell_empties_sooner_and_has_more_resistance() -> None:
    packs, _ = with_fault(Fault("capacity_fade", 0.2, BAD))
    flow(packs, -5.0, 1800)
    moved = 0.5 - packs.soc[0]
    assert moved[BAD] / np.delete(moved, BAD).mean() == pytest.approx(1 / 0.8, rel=1e-3)
    assert packs.resistance[0, BAD] == pytest.approx(1 + 0.2 * FADE_RESISTANCE)
    assert others(packs.resistance) == pytest.approx(1.0)
    assert packs.voltage[0, BAD] == packs.voltage.min()


def test_imbalance_changes_neither_cell_nor_sensor() -> None:
    """It is charge; whoever runs the pack puts it there (running.py, sessions.py)."""
    fault = Fault("imbalance", -0.1, BAD)
    packs, sensors, healthy = pack()
    apply(fault, 1.0, 0, packs, sensors, healthy)
    for name in ("capacity_ah", "resistance", "cooling_w_k", "leak_s", "joint_ohm", "soc"):
        np.testing.assert_array_equal(getattr(packs, name), getattr(pack()[0], name))
    np.testing.assert_array_equal(sensors.cell_offset, healthy.cell_offset)
    assert fault.at(0.5) == pytest.approx(-0.05)


def test_a_module_without_cooling_gets_hotter_under_load_than_the_others() -> None:
    packs, _ = with_fault(Fault("cooling_loss", 0.9, BAD))
    flow(packs, -10.0, 900)
    module = np.zeros(CELLS, bool)
    module[module_of(BAD, CELLS)] = True
    assert module.sum() == 12
    inside, outside = packs.temperature[0, module], packs.temperature[0, ~module]
    assert inside.mean() > outside.mean() + 1
    assert inside.min() > outside.min()
    assert packs.soc[0] == pytest.approx(packs.soc[0, 0], abs=1e-9)


def test_a_drifting_cell_sensor_lies_and_the_cell_does_not() -> None:
    packs, sensors = with_fault(Fault("sensor_drift", 10.0, BAD))
    rest(packs, 600)
    sound = draw_sensors(1, CELLS, CELLS, 30.0, np.random.default_rng(1))
    apart = sensors.cells(packs.voltage, np.random.default_rng(2)) - sound.cells(
        packs.voltage, np.random.default_rng(2)
    )
    assert apart[0, BAD] == pytest.approx(10 * CELL_ERROR_MAX * CELL_TYPICAL_V, abs=2 * sensors.cell_step)
    assert others(apart) == pytest.approx(0.0, abs=1e-6)
    assert packs.voltage[0, BAD] == pytest.approx(others(packs.voltage).mean(), abs=1e-5)


def test_a_drifting_probe_and_a_drifting_shunt() -> None:
    packs, sensors = with_fault(Fault("sensor_drift", -4.0, BAD, "probe"))
    read = sensors.probes(packs.temperature)
    assert read[0, BAD] == pytest.approx(25 - 4 * DS18B20_ERROR_MAX, abs=DS18B20_ERROR_MAX + DS18B20_STEP)
    assert others(read) == pytest.approx(25, abs=DS18B20_ERROR_MAX + DS18B20_STEP)
    _, sensors = with_fault(Fault("sensor_drift", 5.0, 0, "current"))
    assert float(sensors.current(np.zeros(1, np.float32), DRAW)[0]) == pytest.approx(5 * 0.006 * 30, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_grows_from_nothing_and_may_shrink_again(kind: Kind) -> None:
    size = RANGES[kind][0]
    packs, sensors, healthy = pack()
    for grown in (0.5, 1.0, 0.0):
        apply(Fault(kind, size, BAD), grown, 0, packs, sensors, healthy)
    for name in ("capacity_ah", "resistance", "cooling_w_k"):
        np.testing.assert_array_equal(getattr(packs, name), getattr(healthy, name))
    np.testing.assert_array_equal(sensors.cell_offset, healthy.cell_offset)
    assert packs.leak_s.max() == packs.joint_ohm.max() == 0


def test_a_half_grown_short_has_half_the_conductance() -> None:
    assert Fault("internal_short", 10.0).at(0.5) == 20.0
    assert Fault("internal_short", 10.0).at(0.0) == float("inf")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.9, -1.0, 1.1])
def test_a_size_outside_of_its_range_is_refused(kind: Kind, share: float) -> None:
    low, high = RANGES[kind]
    size = low * share if share < 1 else high * share
    if share < 0 and kind in ("imbalance", "sensor_drift"):
        assert Fault(kind, size).size == size  # may be to either side
        return
    with pytest.raises(ValueError, match=f"{kind}: size {size:g} is not within {low:g}..{high:g}"):
        Fault(kind, size)
