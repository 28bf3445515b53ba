"""Windows through a bundle and through a graph in memory: the same scores, in the bundle's columns and length."""

import io
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from services.bus.settings import ROOT
from services.inference.bundle import load_bundle
from services.inference.channels import ChannelSpec
from tests.inference.small_bundle import CHANNELS, WINDOW, model, write_bundle
from training.data.errors import DataError
from training.data.windows import Windows
from training.evaluation.scores import for_bundle, graph_run, scores

COLUMNS = ("soc", "cell_voltages", "voltage", "charge", "current")


def windows(n: int = 5, steps: int = WINDOW + 2) -> Windows:
    draw = np.random.default_rng(0)
    text = np.full(n, "s")
    values = (3 + 0.5 * draw.standard_normal((n, steps, len(COLUMNS)))).astype(np.float32)
    return Windows(
        values, COLUMNS, 10.0, source=text, group=text, unit=text, label=np.zeros(n, np.int8), fault=np.full(n, ""),
        size=np.full(n, np.nan, np.float32), start_s=np.arange(n, dtype=float),
    )  # fmt: skip


def test_scores_are_the_graphs_arithmetic(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    given = for_bundle(bundle, windows(), "here")
    assert given.columns == ("current", "charge", "voltage", "cell_voltages")
    assert given.steps == WINDOW
    found, parts = scores(bundle.run, given)
    by_hand = np.abs((given.values[:, :, 2:] - 3.0) / 0.5).mean(axis=1)
    np.testing.assert_allclose(parts, by_hand, rtol=1e-5)
    np.testing.assert_allclose(found, by_hand.mean(axis=1), rtol=1e-5)


def test_a_graph_in_memory_scores_as_its_bundle(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    given = for_bundle(bundle, windows(), "here")
    specs = [ChannelSpec.model_validate(channel) for channel in CHANNELS]
    np.testing.assert_array_equal(scores(graph_run(model(), specs), given)[0], scores(bundle.run, given)[0])


def test_what_was_not_measured_does_not_count(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    hollow = windows()
    hollow.values[:, ::2, COLUMNS.index("voltage")] = np.nan
    given = for_bundle(bundle, hollow, "here")
    kept = np.where(np.isnan(given.values[:, :, 2]), 0.0, np.abs((given.values[:, :, 2] - 3.0) / 0.5))
    np.testing.assert_allclose(scores(bundle.run, given)[1][:, 0], kept.mean(axis=1), rtol=1e-5)


def test_no_window_has_no_score(tmp_path: Path) -> None:
    found, parts = scores(load_bundle(write_bundle(tmp_path / "b")).run, windows(0))
    assert (len(found), len(parts)) == (0, 0)
    json.dumps(found.tolist())


def test_windows_that_a_bundle_cannot_judge_are_named(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    with pytest.raises(DataError, match=r"f\.parquet: window: 4 steps, the manifest asks for 6"):
        for_bundle(bundle, windows(steps=4), "f.parquet")
    hollow = windows()
    hollow.values[3, :, COLUMNS.index("charge")] = np.nan
    with pytest.raises(DataError, match=r"f\.parquet, row 3: NaN column: charge has no reading"):
        for_bundle(bundle, hollow, "f.parquet")


@pytest.mark.parametrize("dataset", ["ev_fault", "own", "simulated", "evbattery"])
def test_a_bundle_for_single_cells_is_not_set_on_packs(dataset: str) -> None:
    module = import_module(f"training.evaluation.{dataset}")
    with pytest.raises(DataError, match=r"cell-int8: pack: cell-int8@.* judges single cells"):
        module.evaluate(ROOT / "bundles" / "cell-int8", Path("nowhere"), Console(file=io.StringIO()))
