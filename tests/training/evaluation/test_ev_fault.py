"""A bundle on vehicles like those of ev-fault: what is raised on healthy spans, and whether faulty ones stand out."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from services.bus.settings import ROOT
from services.inference.bundle import load_bundle
from tests.inference.small_bundle import WINDOW, write_bundle
from tests.training.synthetic import write_vehicles
from training.data.errors import DataError
from training.data.windows import Windows
from training.evaluation.ev_fault import DEFAULT, covered_days, evaluate, of_run, rule_of
from training.evaluation.rule import Rule

SILENT = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vehicles(tmp_path_factory.mktemp("ev-fault"))


def bundle(folder: Path, threshold: float) -> Path:
    return write_bundle(folder, score={"definition": "-", "threshold": threshold, "threshold_from": "by hand"})


def test_spans_are_told_apart_and_raises_are_counted_a_day(folder: Path, tmp_path: Path) -> None:
    found = evaluate(bundle(tmp_path / "b", 1e-9), folder, SILENT)  # every window is beyond it
    assert {name: set(spans) for name, spans in found["vehicle"].items()} == {
        "car1": {"healthy"},
        "car2": {"healthy", "faulty"},
        "car3": {"healthy"},
        "early": {"unlabelled"},  # of no vehicle that is known
        "late": {"unlabelled"},
    }
    healthy = found["healthy"]
    spans = [spans["healthy"] for spans in found["vehicle"].values() if "healthy" in spans]
    assert healthy["vehicle_days"] == pytest.approx(sum(span["vehicle_days"] for span in spans), abs=0.01)
    assert healthy["raised"] == sum(len(span["raised"]) for span in spans) >= 3
    assert healthy["a_day_below"] > healthy["a_day"] > 0
    assert all(span["over_threshold"] == 1 for span in spans)
    assert spans[0]["raised"][0].startswith("2021-05-05T")
    assert 0 <= found["window"]["auroc"] <= 1
    json.dumps(found, allow_nan=False)


def test_a_bundle_whose_channel_no_vehicle_has_is_named(folder: Path, tmp_path: Path) -> None:
    channels = json.loads(write_bundle(tmp_path / "a").joinpath("manifest.json").read_text())["channels"]
    strange = [{**c, "name": "temperatures", "across": "mean"} if c["name"] == "cell_voltages" else c for c in channels]
    with pytest.raises(DataError, match=r"ev-fault car1.*channels: .*temperatures"):
        evaluate(write_bundle(tmp_path / "b", channels=strange), folder, SILENT)


def test_a_bundles_rule_is_the_shipped_one() -> None:
    assert rule_of("cell-int8") == Rule(2, 3, 0)
    assert rule_of("nobody") == DEFAULT
    for path in sorted((ROOT / "bundles").iterdir()):
        assert rule_of(load_bundle(path).manifest.name).k >= 1


def some(starts: list[float]) -> Windows:
    n = len(starts)
    text = np.full(n, "s")
    return Windows(
        np.zeros((n, WINDOW, 4), np.float32),
        ("current", "charge", "voltage", "cell_voltages"),
        10.0,
        source=text,
        group=text,
        unit=text,
        label=np.zeros(n, np.int8),
        fault=np.full(n, ""),
        size=np.full(n, np.nan, np.float32),
        start_s=np.array(starts),
    )


def test_days_are_those_that_a_window_covers() -> None:
    assert covered_days(some([]), 60.0) == 0
    assert covered_days(some([0.0, 20.0, 40.0]), 60.0) == pytest.approx(100 / 86_400)
    assert covered_days(some([0.0, 1000.0]), 60.0) == pytest.approx(120 / 86_400)


def test_a_raise_is_dated_by_its_windows_end_and_a_run_without_windows_raises_none(tmp_path: Path) -> None:
    made = load_bundle(bundle(tmp_path / "b", 1.0))
    entry = of_run(made, Rule(1, 1, 0), some([0.0, 60.0]), np.array([0.5, 1.5]))
    assert entry["raised"] == ["1970-01-01T00:02+00:00"]
    assert (entry["windows"], entry["median"], entry["over_threshold"]) == (2, 1.0, 0.5)
    assert of_run(made, Rule(1, 1, 0), some([]), np.zeros(0)) == {"windows": 0, "vehicle_days": 0.0, "raised": []}
