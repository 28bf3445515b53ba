"""The pack model beside SPMe: trajectories of `python -m training.simulation check`, on profiles and at temperatures
that the tables were not fitted on.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from services.sensor.simulated.cell import FILE, PARAMETERS, build_cell, read_cell, reference_cell
from training.data.errors import DataError
from training.simulation.__main__ import CHECKED_AT, FIGURES, REFERENCE, main
from training.simulation.reference import Deviation, Trajectory, compare, figures, read_trajectories, write_trajectories

SMALL: float = 200_000  # bytes


@pytest.fixture(scope="module")
def trajectories() -> list[Trajectory]:
    return read_trajectories(REFERENCE)


@pytest.fixture(scope="module")
def deviations(trajectories: list[Trajectory]) -> list[Deviation]:
    return compare(reference_cell(), trajectories)


def test_the_reference_is_small_and_whole(trajectories: list[Trajectory]) -> None:
    assert REFERENCE.stat().st_size < SMALL
    assert {t.temperature for t in trajectories} == set(CHECKED_AT)
    for temperature in CHECKED_AT:
        names = [t.profile.name for t in trajectories if t.temperature == temperature]
        assert names == ["DST", "town", "motorway", "charge, tapering", "slow charge", "discharge", "pulses"]


def test_the_model_is_within_two_millivolts_of_spme(deviations: list[Deviation]) -> None:
    """The goal, at each temperature; largest errors and drifts are those that docs/simulation.md states."""
    for temperature in CHECKED_AT:
        chosen = [d for d in deviations if d.trajectory.temperature == temperature]
        errors, windows = np.concatenate([d.error for d in chosen]), np.concatenate([d.windows for d in chosen])
        assert np.sqrt(np.mean(errors**2)) <= 2e-3, temperature
        assert np.sqrt(np.mean(windows[:, 1] ** 2)) <= 1e-3, temperature  # drift within a window
        assert (windows[:, 1] <= 1e-3).mean() > 0.9, temperature
    assert max(d.rmse_v for d in deviations) <= 3.5e-3  # a single profile: the motorway at 5 degC
    assert max(float(np.abs(d.error).max()) for d in deviations) <= 20e-3


def test_the_page_has_the_figures_of_the_shipped_tables(deviations: list[Deviation]) -> None:
    kept = json.loads(FIGURES.read_text())
    for name, row in figures(deviations).items():
        for key in ("rmse", "drift_rms", "drift_p95", "drift_largest"):
            assert row[key] == pytest.approx(kept[name][key], abs=0.03), (name, key)


def test_other_tables_would_be_told_apart(deviations: list[Deviation]) -> None:
    """With three tenths more ohmic resistance: the comparison can fail."""
    content = json.loads(FILE.read_text())
    content["parameters"]["ohmic"] = [1.3 * ohm for ohm in content["parameters"]["ohmic"]]
    town = next(d for d in deviations if (d.trajectory.profile.name, d.trajectory.temperature) == ("town", 32.0))
    (other,) = compare(build_cell(content), [town.trajectory])
    assert other.rmse_v > 2 * town.rmse_v


def test_trajectories_are_kept_to_ten_microvolts(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    path = tmp_path / "kept.parquet"
    write_trajectories(path, trajectories[:2])
    again = read_trajectories(path)
    assert [(t.profile.name, t.temperature, t.profile.soc) for t in again] == [
        (t.profile.name, t.temperature, t.profile.soc) for t in trajectories[:2]
    ]
    np.testing.assert_allclose(again[0].voltage, trajectories[0].voltage, atol=1e-5)


def test_what_is_no_reference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.parquet"
    path.write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match=r"none\.parquet"):
        read_trajectories(path)
    assert main(["check", "--kept", "--reference", str(path)]) == 2
    assert "none.parquet" in capsys.readouterr().err


def test_tables_of_another_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    path.write_text(json.dumps(json.loads(FILE.read_text()) | {"format": 2}))
    with pytest.raises(ValueError, match=r"cell\.json: format 2, this version reads 1"):
        read_cell(path)


def test_between_the_fitted_temperatures_parameters_lie_between() -> None:
    cell = reference_cell()
    at = cell.at(np.array([0.0, 5.0, 10.0, -40.0, -10.0], np.float32))
    low, high = np.minimum(at[:, 0], at[:, 2]), np.maximum(at[:, 0], at[:, 2])
    assert at.shape == (len(PARAMETERS), 5)
    assert ((at[:, 1] >= low - 1e-6) & (at[:, 1] <= high + 1e-6)).all()
    np.testing.assert_array_equal(at[:, 3], at[:, 4])  # outside, the end's values hold
    assert cell.soc_at(float(cell.rest_voltage(0.4))) == pytest.approx(0.4, abs=1e-3)
