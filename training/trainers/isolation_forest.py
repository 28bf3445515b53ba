"""Isolation Forest on summary features (Liu, Ting, Zhou 2008), by scikit-learn and skl2onnx.

A baseline for comparison on a server: some 800 KB and 20 ms a window are not for the edge, so no bundle of it is kept
in the repository; the command makes it anew.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress
from skl2onnx import to_onnx
from sklearn.ensemble import IsolationForest

from services.inference.bundle import Manifest
from training.baselines import Baseline, finish, read
from training.compress.graph import OPSET
from training.compress.summary_graph import CONDITIONS, FEATURES, begin, features, judged
from training.data.cut import WindowShape
from training.models.pack import RESPONSES
from training.trainers.pack import FleetConfig

TREES_OPSET: Final = 3  # of the domain ai.onnx.ml
FOREST: Final = "forest_"  # prefix of its part of the graph


class Config(BaseModel):
    """What configs/isolation-forest.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "isolation-forest"
    window: int = Field(128, ge=8)
    trees: int = Field(100, ge=1)
    samples: int = Field(256, ge=2, description="Windows from which each tree is grown.")
    fleet: FleetConfig | None = FleetConfig()
    quantile: float = Field(0.99, gt=0, lt=1, description="Of healthy windows that were not learnt from: threshold.")
    seed: int = 7


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Recordings to bundle; nothing of it takes long enough to be resumed.

    Args:
        data: folder of the ev-fault vehicles.
    Raises:
        DataError, SourceError: a recording is missing or cannot be read, or none is healthy.
    """
    shape = WindowShape(window=config.window)
    with Progress(console=console) as progress:
        learnt = read(data, shape, config.fleet, progress)
    found = features(learnt.train).astype(np.float32)
    forest = IsolationForest(n_estimators=config.trees, max_samples=config.samples, random_state=config.seed)
    forest.fit(found, sample_weight=learnt.train.weight.numpy())
    model = write(forest, found, config.window).SerializeToString()
    about = Baseline(
        config.name,
        f"Isolation Forest of {config.trees} trees on summary features",
        "How few random cuts part the window's summary features from those of training windows: 1 = at once, 0.5 and "
        "less = as any. Shares say which response's features are far from their mean; the forest itself knows none.",
        ("A baseline, too large and too slow for an edge node.",),
        config.model_dump(mode="json"),
    )
    return finish(out, model, about, learnt, shape, config.quantile)


def write(forest: Any, found: NDArray[np.float32], steps: int) -> onnx.ModelProto:
    """The graph of a bundle: features, skl2onnx's forest, score.

    Args:
        found: features of the training windows (n, FEATURES).
    """
    graph, tensor = begin(steps)
    centre, spread = found.mean(axis=0), found.std(axis=0).clip(1e-6)
    apart = graph.node("Mul", graph.node("Sub", tensor, graph.constant(centre[None])), graph.constant(1 / spread[None]))
    responses = graph.split(graph.node("Abs", apart), 1, [len(CONDITIONS), FEATURES - len(CONDITIONS)])[1]
    graph.output("contributions", judged(graph, responses)[1], [1, RESPONSES])
    graph.output("features", tensor, [1, FEATURES])
    front = graph.model()
    trees = to_onnx(forest, found[:1], target_opset={"": OPSET, "ai.onnx.ml": TREES_OPSET})
    trees.ir_version = front.ir_version
    del front.opset_import[:]
    front.opset_import.extend(trees.opset_import)
    pairs = [("features", FOREST + trees.graph.input[0].name)]
    merged = compose.merge_models(front, compose.add_prefix(trees, FOREST), io_map=pairs)
    # scikit-learn's decision is 0 at the border that it chose, less = stranger; scores go the other way, from 0 to 1
    decision, offset = FOREST + trees.graph.output[1].name, np.array(forest.offset_, dtype=np.float32)
    merged.graph.initializer.append(numpy_helper.from_array(-offset, "border"))
    merged.graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "flat"))
    merged.graph.node.append(helper.make_node("Sub", ["border", decision], ["strangeness"]))
    merged.graph.node.append(helper.make_node("Reshape", ["strangeness", "flat"], ["score"]))
    given = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("contributions", TensorProto.FLOAT, [1, RESPONSES]),
    ]
    del merged.graph.output[:]
    merged.graph.output.extend(given)
    del merged.graph.value_info[:]
    onnx.checker.check_model(merged)
    return merged
