"""A bundle on a simulated fleet, from its YAML file, from its windows, from a folder of either."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from services.sensor.simulated.faults import KINDS
from tests.inference.small_bundle import write_bundle
from training.data.errors import DataError
from training.data.simulated import read_fleet
from training.data.simulated import windows as fleet_windows
from training.data.windows import Windows
from training.evaluation.simulated import evaluate, figures, read_windows

SILENT = Console(file=io.StringIO())
TEXT = "{seed: 6, healthy: 7, faulty: 1, sessions: 1, late: 1, steps: 128}"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def windows(fleet: Path) -> Windows:
    return fleet_windows(read_fleet(fleet))


def test_the_whole_way_prints_what_is_json(fleet: Path, tmp_path: Path) -> None:
    found = evaluate(write_bundle(tmp_path / "b"), fleet, SILENT)
    json.dumps(found, allow_nan=False)
    assert found["bundle"].startswith("small@")
    assert found["n"] == {"vehicles": 13, "faulty": 6, "windows": 26}
    assert set(found["fault"]) == set(KINDS)
    assert 0 <= found["window"]["auroc"] <= 1


def test_one_who_knows_the_labels_is_right(windows: Windows) -> None:
    found = figures(windows, windows.label + 0.01 * np.random.default_rng(0).uniform(size=len(windows)))
    assert found["vehicle"]["together"] == found["window"]["auroc"] == 1.0
    assert all(row["auroc"] == 1.0 for row in found["fault"].values())


def test_windows_and_folders_are_read_as_the_file_is(windows: Windows, fleet: Path, tmp_path: Path) -> None:
    windows.write(tmp_path / "kept.parquet")
    for path in (tmp_path / "kept.parquet", tmp_path):
        np.testing.assert_array_equal(read_windows(path, SILENT).values, windows.values)
    np.testing.assert_array_equal(read_windows(fleet.parent, SILENT).label, windows.label)


def test_a_folder_without_a_fleet_and_short_sessions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither a \.parquet of windows nor a \.yaml"):
        read_windows(tmp_path, SILENT)
    (tmp_path / "short.yaml").write_text("{healthy: 1, faulty: 1, sessions: 1, steps: 60}")
    with pytest.raises(DataError, match="steps: 60, a window has 128"):
        read_windows(tmp_path / "short.yaml", SILENT)


def test_a_healthy_fleet_has_no_auroc_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "healthy.yaml"
    path.write_text("{healthy: 8, faulty: 0, sessions: 1, late: 0, steps: 128}")
    with pytest.raises(DataError, match=r"healthy\.yaml: two classes: all is healthy"):
        evaluate(write_bundle(tmp_path / "b"), path, SILENT)
