"""INT8 arithmetic is the same on every processor: nothing saturates on the way."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from services.bus.settings import ROOT
from services.inference.bundle import MODEL, open_session

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
    shapes = {i.name: [n if isinstance(n, int) else 1 for n in i.shape] for i in exact.get_inputs()}
    for size in (0.0, 1.0, 3.0):
        given = {name: (size * random.normal(0, 1, shape)).astype(np.float32) for name, shape in shapes.items()}
        if "mask" in given:
            given["mask"] = np.ones_like(given["mask"])
        for ours, theirs in zip(used.run(None, given), exact.run(None, given), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
