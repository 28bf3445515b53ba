"""A bundle on recordings that nobody has labelled."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from services.bus.settings import ROOT
from tests.inference.small_bundle import write_bundle
from training.data.errors import DataError
from training.evaluation.own import evaluate

RECORDINGS = ROOT / "tests" / "recordings"
SILENT = Console(file=io.StringIO())


def test_a_recording_gets_its_scores_and_what_the_rule_would_have_raised(tmp_path: Path) -> None:
    strict = write_bundle(tmp_path / "strict")  # this pack is far from 3 V: every window is beyond its threshold
    loose = write_bundle(tmp_path / "loose", score={"definition": "-", "threshold": 1e6, "threshold_from": "by hand"})
    found = evaluate(strict, RECORDINGS / "car2.parquet", SILENT)
    entries = found["recording"]["car2"]
    assert sum(entry["windows"] for entry in entries) > 100
    assert all(entry["over_threshold"] == 1 for entry in entries if entry["windows"])
    assert found["raised"] > 0
    assert found["a_day_below"] > found["a_day"] > 0
    quiet = evaluate(loose, RECORDINGS, SILENT)
    assert quiet["raised"] == 0
    assert quiet["device_days"] == found["device_days"] > 0.5
    assert 0 < quiet["a_day_below"] < 10
    json.dumps(found, allow_nan=False)


def test_a_device_that_lacks_a_channel_is_named(tmp_path: Path) -> None:
    (tmp_path / "pack.csv").write_text("ts,voltage\n" + "".join(f"{1.7e9 + i},350\n" for i in range(50)))
    with pytest.raises(DataError, match=r"own pack: channels: .*current"):
        evaluate(write_bundle(tmp_path / "small"), tmp_path / "pack.csv", SILENT)
