"""A bundle on snippets like EVBattery's."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.inference.small_bundle import write_bundle
from tests.training.brand import write_brand
from training.data.errors import DataError
from training.evaluation.evbattery import evaluate

SILENT = Console(file=io.StringIO())
CHANNELS = [
    {"name": "current", "role": "input", "offset": 0.0, "scale": 1.0},
    {"name": "soc", "role": "input", "offset": 0.0, "scale": 1.0},
    {"name": "cell_voltage_max", "role": "response", "offset": 3.0, "scale": 0.5},
    {"name": "cell_voltage_min", "role": "response", "offset": 3.0, "scale": 0.5},
]


def test_vehicles_are_judged_by_h_of_the_others(tmp_path: Path) -> None:
    folder = write_brand(tmp_path / "brand", healthy=10, faulty=5, each=4)
    found = evaluate(write_bundle(tmp_path / "b", channels=CHANNELS), folder, SILENT)
    json.dumps(found, allow_nan=False)
    assert found["n"] == {"vehicles": 15, "windows": 60}
    assert len(found["vehicle"]["h"]) == 5
    assert 0 <= found["vehicle"]["auroc"] <= 1


def test_one_class_and_a_column_that_snippets_lack_are_named(tmp_path: Path) -> None:
    healthy = write_brand(tmp_path / "healthy", healthy=6, faulty=0, each=2)
    with pytest.raises(DataError, match=r"healthy: two classes: all is healthy"):
        evaluate(write_bundle(tmp_path / "b", channels=CHANNELS), healthy, SILENT)
    strange = [{**CHANNELS[0], "name": "cell_spread"}, *CHANNELS[1:]]
    with pytest.raises(DataError, match="cell_spread"):
        evaluate(write_bundle(tmp_path / "c", channels=strange), healthy, SILENT)


def test_too_few_faulty_vehicles_for_five_folds_are_named(tmp_path: Path) -> None:
    folder = write_brand(tmp_path / "brand", healthy=8, faulty=2, each=2)
    with pytest.raises(DataError, match=r"fold \d of 5: two classes|no inner fold holds"):
        evaluate(write_bundle(tmp_path / "b", channels=CHANNELS), folder, SILENT)
