"""INT8 arithmetic is the same on every processor: nothing saturates on the way."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from services.bus.settings import ROOT
from services.inference.bundle import MODEL, load_bundle, open_session

CHOICES = ("phase", "phase_charge", "chemistry")  # columns that are one of a few numbers
BUNDLES = sorted(path.parent for path in (ROOT / "bundles").glob("*-int8/manifest.json"))


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_integer_kernels_give_what_the_graph_says(folder: Path) -> None:
    """Without optimization every quantized node is computed in float: exact, on any processor."""
    path = folder / MODEL
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    exact = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    used = open_session(path.read_bytes(), path)
    random = np.random.default_rng(7)
    manifest = load_bundle(folder).manifest
    varies = np.array([channel.derived not in CHOICES for channel in manifest.channels], dtype=np.float32)
    for size in (0.0, 1.0, 3.0):
        values = size * varies * random.normal(0, 1, (1, manifest.window, len(varies)))
        given = {"window": values.astype(np.float32), "mask": np.ones(values.shape, dtype=np.float32)}
        for ours, theirs in zip(used.run(None, given), exact.run(None, given), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
