"""Readings as the converter and the probe of the data sheets give them."""

import numpy as np
import pytest

from services.sensor.simulated.measuring import (
    ADS1115_NOISE,
    ADS1115_OFFSET_MAX,
    ADS1115_RANGES,
    ADS1115_STEPS,
    DS18B20_ERROR_MAX,
    DS18B20_STEP,
    Sensors,
    draw_sensors,
)

LSB = 6.144 / 32768  # 187.5 uV: SBAS444, table of the full-scale ranges
N = 4000


def sensors(packs: int = 1, cells: int = N, seed: int = 0) -> Sensors:
    return draw_sensors(packs, cells, min(cells, 24), 100.0, np.random.default_rng(seed))


def whole(values: np.ndarray, step: float) -> bool:
    return bool(np.allclose(values / step, np.rint(values / step), atol=0.02))


def test_cells_are_read_in_whole_steps_with_the_data_sheets_noise() -> None:
    made, draw = sensors(), np.random.default_rng(1)
    made.cell_gain[:], made.cell_offset[:] = 1, 0
    read = made.cells(np.full((1, N), 3.70004, np.float32), draw)
    assert whole(read, LSB)
    steps = read.astype(np.float64) / LSB
    assert steps.std() == pytest.approx(np.hypot(ADS1115_NOISE, 1 / np.sqrt(12)), rel=0.1)
    assert steps.mean() * LSB == pytest.approx(3.70004, abs=0.05 * LSB)


def test_gain_and_offset_are_each_cells_own_and_stay_within_the_data_sheet() -> None:
    made = sensors()
    assert np.abs(made.cell_gain - 1).max() <= 0.0015 + 1e-6
    assert made.cell_gain.std() == pytest.approx(0.0005, rel=0.1)
    assert np.abs(made.cell_offset).max() <= ADS1115_OFFSET_MAX * LSB * 1.001
    assert made.cell_offset.std() > 0.5 * LSB
    again, draw = made.cells(np.full((1, N), 3.7, np.float32), np.random.default_rng(1)), np.random.default_rng(2)
    apart = again - made.cells(np.full((1, N), 3.7, np.float32), draw)
    assert np.abs(apart).max() < 8 * LSB  # from reading to reading it is noise alone


def test_nothing_is_read_beyond_the_range() -> None:
    made, draw = sensors(cells=2), np.random.default_rng(1)
    read = made.cells(np.array([[-0.3, 9.0]], np.float32), draw)
    assert read[0].tolist() == [0.0, pytest.approx(LSB * (ADS1115_STEPS - 1), rel=1e-6)]
    current = made.current(np.array([-150.0], np.float32), draw)
    assert float(current[0]) == pytest.approx(-100 * (ADS1115_STEPS - 1) / ADS1115_STEPS, rel=1e-5)


def test_current_is_read_in_steps_of_the_shunts_range() -> None:
    made = sensors(packs=N, cells=1)
    read = made.current(np.full(N, 12.3, np.float32), np.random.default_rng(1))
    assert whole(read.astype(np.float64), 100 / ADS1115_STEPS)
    assert np.abs(read - 12.3).max() < 0.006 * 12.3 + 0.0006 * 100 + 5 * 100 / ADS1115_STEPS


def test_probes_read_in_sixteenths_and_stay_within_half_a_degree() -> None:
    made = draw_sensors(1, N, N, 100.0, np.random.default_rng(0))
    read = made.probes(np.full((1, N), 31.4159, np.float32))
    assert whole(read, DS18B20_STEP)
    assert np.abs(read - 31.4159).max() <= DS18B20_ERROR_MAX + DS18B20_STEP
    assert read.std() > 0.1
    assert made.probes(np.full((1, N), 300.0, np.float32)).max() == 125.0
    assert made.probes(np.full((1, N), -80.0, np.float32)).min() == -55.0


def test_probes_sit_evenly_on_the_cells() -> None:
    made = sensors(cells=96)
    assert made.probe_cell.tolist()[0] == 0
    assert made.probe_cell.tolist()[-1] == 95
    assert set(np.diff(made.probe_cell).tolist()) <= {4, 5}


def test_the_same_seed_gives_the_same_sensors() -> None:
    one, two, other = sensors(), sensors(), sensors(seed=3)
    np.testing.assert_array_equal(one.cell_gain, two.cell_gain)
    assert not np.array_equal(one.cell_gain, other.cell_gain)


def test_a_range_that_the_chip_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no range of 5 V; it has \(6.144, "):
        draw_sensors(1, 1, 1, 1.0, np.random.default_rng(0), full_scale=5.0)
    assert draw_sensors(1, 1, 1, 1.0, np.random.default_rng(0), full_scale=ADS1115_RANGES[1]).cell_step == 4.096 / 32768
