"""The study on cells that are one equation: their leak is known, and so is what a fold may have seen."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.isc_ncm_set import Setup, write_set
from training.evaluation.charge_balance import Calibration
from training.report.charge_balance import report
from training.studies.charge_balance import Config, study

pytestmark = pytest.mark.training
SETUP = Setup(
    {f"NCM811_{c}C_1.0CD": ("NCM811", "cccv", c, 1.0) for c in (1.0, 1.1, 1.2, 1.3, 1.5)}, (10, 50, 700, 1000)
)


def test_the_known_leak_is_read_and_the_calibration_written(tmp_path: Path) -> None:
    write_set(tmp_path / "isc_ncm", SETUP)
    config = Config(folds=5, draws=20, calibration=tmp_path / "calibration.json")
    figures = study(config, tmp_path, Console(file=io.StringIO()))
    json.dumps(figures, allow_nan=False)
    for name in ("raw", "corrected", "less_own"):
        assert figures["auroc"][name]["all"]["10"] == {"bd": 1.0, "same_cell": 1.0}
        typical = figures["leak_a"][name]["median_by_ohm"]
        assert typical["10"] == pytest.approx(0.37, abs=0.01)
        assert typical["50"] == pytest.approx(0.074, abs=0.01)
    assert figures["auroc"]["raw"]["n"] == {"bd": 20, "same_cell": 10, "10": 5, "50": 5, "le100": 10}
    assert figures["leak_a"]["raw"]["healthy"]["NCM811 cccv BD"]["median"] == pytest.approx(0.0, abs=0.005)
    assert figures["open"] == {}
    fits = Calibration.load(config.calibration).fits["NCM811 cccv"]
    assert set(fits.without) == set(SETUP.protocols)
    table = report(figures, tmp_path)["charge_balance"]
    assert "| Ah in - Ah out | 1.000/1.000 | -/- |" in table  # there is no 30 ohm in this set
    assert (tmp_path / "leak_by_ohm.svg").read_text().startswith("<?xml")
