"""The simulated fleet: the same whenever it is made, labelled as its faults are, in the columns that it promises."""

from pathlib import Path

import numpy as np
import pytest

from services.bus.settings import ROOT
from services.inference.channels import ChannelSpec
from services.sensor.simulated.faults import KINDS
from training.data.errors import DataError
from training.data.runs import FAULTY, HEALTHY
from training.data.simulated import COLUMNS, WINDOW, as_channels, load, read_fleet, vehicle_labels, windows
from training.data.windows import Windows, read
from training.simulation.__main__ import FLEET, main
from training.simulation.fleet import CELLS, STEP_S, Fleet
from training.simulation.profiles import checking, fitted, limits

SMALL = Fleet(seed=3, healthy=2, faulty=1, sessions=3, late=2, steps=WINDOW)
TEXT = "{seed: 3, healthy: 2, faulty: 1, sessions: 3, late: 2, steps: 128}"


@pytest.fixture(scope="module")
def made() -> Windows:
    return windows(SMALL)


def column(of: Windows, name: str) -> np.ndarray:
    return np.asarray(of.values[:, :, COLUMNS.index(name)], np.float64)


def test_the_same_seed_gives_the_same_fleet_and_another_another(made: Windows) -> None:
    again = windows(SMALL)
    np.testing.assert_array_equal(made.values, again.values)
    np.testing.assert_array_equal(made.group, again.group)
    other = windows(SMALL.model_copy(update={"seed": 4}))
    assert not np.array_equal(made.values[:5], other.values[:5])


def test_a_vehicle_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = SMALL.vehicles(), SMALL.model_copy(update={"healthy": 2, "faulty": 2}).vehicles()
    for one, same in zip(few[:3], many[:3], strict=True):
        np.testing.assert_array_equal(one.capacity, same.capacity)
        assert (one.fault, one.sessions) == (same.fault, same.sessions)


def test_every_vehicle_is_there_and_faults_begin_with_their_day(made: Windows) -> None:
    vehicles = {v.name: v for v in SMALL.vehicles()}
    assert set(made.group.tolist()) == set(vehicles)
    assert len(made) == 8 * 5
    labels = vehicle_labels(made)
    for name, vehicle in vehicles.items():
        assert labels[name] == (FAULTY if vehicle.fault else HEALTHY)
        of = made.group == name
        days = {session.start_s: session for session in vehicle.sessions}
        for label, start, fault in zip(made.label[of], made.start_s[of], made.fault[of], strict=True):
            grown = days[float(start)].grown
            assert label == (FAULTY if grown > 0 else HEALTHY)
            assert fault == (vehicle.fault.kind if vehicle.fault and grown > 0 else "")
    assert {v.fault.kind for v in vehicles.values() if v.fault} == set(KINDS)


def test_columns_belong_together(made: Windows) -> None:
    assert made.values.shape[1:] == (WINDOW, len(COLUMNS))
    assert np.isfinite(made.values).all()
    counted = np.cumsum(column(made, "current"), axis=1) * STEP_S / 3600
    np.testing.assert_allclose(column(made, "charge"), counted, atol=2e-3)
    np.testing.assert_allclose(column(made, "voltage") / CELLS, column(made, "cell_voltages"), rtol=6e-3)
    spread = column(made, "cell_voltage_max") - column(made, "cell_voltage_min")
    np.testing.assert_allclose(column(made, "cell_spread"), spread, atol=1e-6)
    assert (column(made, "temperature_max") >= column(made, "temperature_min")).all()
    assert (np.ptp(column(made, "mileage"), axis=1) == 0).all()


def test_runs_and_windows_are_the_same_recordings(made: Windows, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(TEXT)
    runs = {(run.group, float(run.time_s[0])): run for run in load(path)}
    assert len(runs) == len(made)
    run = runs[str(made.group[7]), float(made.start_s[7])]
    np.testing.assert_allclose(run.channels["current"], made.values[7, :, COLUMNS.index("current")])
    assert run.channels["cell_voltages"].shape == (WINDOW, CELLS)
    assert run.label == made.label[7]


def test_a_bundle_sees_voltage_a_cell(made: Windows) -> None:
    specs = [
        ChannelSpec(name="current", role="input", offset=0.0, scale=1.0),
        ChannelSpec(name="voltage", role="response", per="cell_voltages", offset=0.0, scale=1.0),
    ]
    seen = as_channels(made, specs)
    assert seen.columns == ("current", "voltage")
    assert 2.5 < seen.values[:, :, 1].min() < seen.values[:, :, 1].max() < 4.3


def test_a_column_that_no_fleet_has_is_named(made: Windows) -> None:
    with pytest.raises(DataError, match="columns: pressure is missing; there are current, charge"):
        as_channels(made, [ChannelSpec(name="pressure", role="input", offset=0.0, scale=1.0)])


def test_the_command_writes_what_is_read_again(made: Windows, tmp_path: Path) -> None:
    fleet, out = tmp_path / "fleet.yaml", tmp_path / "fleet.parquet"
    fleet.write_text(TEXT)
    assert main(["fleet", "--fleet", str(fleet), "--out", str(out)]) == 0
    kept = read(out)
    np.testing.assert_array_equal(kept.values[:], made.values)
    np.testing.assert_array_equal(kept.label, made.label)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{helthy: 3}", "helthy"),
        ("{healthy: -1}", "healthy"),
        ("[1]", "fleet"),
        ("{", "fleet"),
    ],
)
def test_a_wrong_fleet_is_refused_by_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"fleet\.yaml") as caught:
        read_fleet(path)
    assert said in str(caught.value)


def test_sessions_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(DataError, match="100, a window has 128"):
        windows(SMALL.model_copy(update={"steps": 100}))


def test_the_shipped_fleet_is_a_fleet() -> None:
    assert read_fleet(FLEET).healthy > read_fleet(FLEET).faulty > 0
    assert FLEET.is_relative_to(ROOT)


@pytest.mark.parametrize("temperature", [-10.0, 25.0])
def test_profiles_stay_within_what_a_bms_allows(temperature: float) -> None:
    charge, discharge = limits(temperature)
    for profile in (*fitted(temperature, 5.0, 1), *checking(temperature, 5.0, 1)):
        soc = profile.soc + np.cumsum(profile.current) * 10 / 3600 / 5.0
        assert len(profile.current) > 50, profile.name
        assert profile.current.max() <= charge * 5.0 * 1.001, profile.name
        assert profile.current.min() >= -discharge * 5.0 * 1.001, profile.name
        assert 0.05 < soc.min() < soc.max() < 0.98, profile.name
