"""Bundles: what is accepted, what is refused and how that is said, and the one that is shipped."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.settings import ROOT
from services.inference.bundle import BundleError, load_bundle, open_session
from services.inference.window import WindowSteps
from tests.inference.small_bundle import CHANNELS, WINDOW, model, write_bundle

SHIPPED = ROOT / "bundles" / "dyad-int8"


def window_of(volts: float, masked: bool = False) -> WindowSteps:
    values = np.tile(np.array([1.0, 0.0, volts, 3.5], dtype=np.float32), (WINDOW, 1))
    return WindowSteps(values, np.full_like(values, 0.0 if masked else 1.0), 0, WINDOW - 1, 0)


def test_judge_scales_scores_and_shares(tmp_path: Path) -> None:
    judgement = load_bundle(write_bundle(tmp_path)).judge(window_of(4.5))
    assert judgement.score == pytest.approx((3.0 + 1.0) / 2)
    assert judgement.shares == {"voltage": 0.75, "cell_voltages": 0.25}


def test_shares_of_nothing_are_zero(tmp_path: Path) -> None:
    assert load_bundle(write_bundle(tmp_path)).judge(window_of(4.5, masked=True)).shares == {
        "voltage": 0.0,
        "cell_voltages": 0.0,
    }


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"version": "one"}, "version"),
        ({"window": 7}, "graph inputs"),
        ({"channels": CHANNELS[:3]}, "graph inputs"),
        ({"profile": "submarine"}, "profile"),
        ({"profile_version": 9}, "profile_version"),
        ({"stride": WINDOW}, "file"),
        ({"channels": [*CHANNELS[:3], CHANNELS[3] | {"name": "co"}]}, "channels"),
        ({"channels": [*CHANNELS[:3], CHANNELS[3] | {"across": None}]}, "channels"),
        ({"channels": [*CHANNELS[:2], CHANNELS[2] | {"per": "current"}, CHANNELS[3]]}, "channels"),
        ({"channels": [*CHANNELS[1:], CHANNELS[1] | {"scale": 0}]}, "channels.3.scale"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_manifest_names_file_and_rule(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(write_bundle(tmp_path, **changes))
    assert caught.value.rule == rule
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"not a graph", "graph"),
        (model()[:-40], "graph"),
        (model(responses=1), "graph outputs"),
        (model(score="verdict"), "graph outputs"),
    ],
    ids=["no graph", "truncated", "responses", "name of an output"],
)
def test_bad_graph_names_file_and_rule(tmp_path: Path, content: bytes, rule: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(write_bundle(tmp_path, content))
    assert caught.value.rule == rule
    assert caught.value.path == tmp_path / "model.onnx"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: readable"):
        load_bundle(tmp_path)
    write_bundle(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: readable"):
        load_bundle(tmp_path)


@given(st.binary(max_size=400))
def test_any_bytes_as_manifest_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_shipped_bundle_loads_and_is_small() -> None:
    bundle = load_bundle(SHIPPED)
    assert bundle.manifest.id.startswith("dyad-int8@")
    assert (SHIPPED / "model.onnx").stat().st_size <= 60_000


def test_shipped_graph_has_no_float_convolution_or_product(tmp_path: Path) -> None:
    optimized = tmp_path / "optimized.onnx"
    open_session((SHIPPED / "model.onnx").read_bytes(), SHIPPED, optimized)
    kinds = [node.op_type for node in onnx.load(optimized).graph.node]
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "GRU", "LSTM"} & set(kinds)
    assert kinds.count("QLinearConv") >= 10
