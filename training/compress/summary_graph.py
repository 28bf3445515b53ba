"""Summary features of a window, inside the graph: what Mahalanobis distance and Isolation Forest judge.

For each response, less its level (training/models/pack.py, LEVEL) and where it was measured: mean, spread, extremes,
covariance with current and with counted charge, roughness, last third less first. And the conditions under which they
came about: how hard the pack was used, its level of charge and temperature.
"""

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from services.inference.bundle import open_session
from training.compress.graph import Graph, Tensor
from training.evaluation.scores import MEMORY
from training.models.pack import CELLS, CHANNELS, COLDEST, CURRENT, INPUTS, LEVEL, RESPONSES
from training.models.snippets import Snippets

KINDS: Final = ("mean", "spread", "highest", "lowest", "with_current", "with_charge", "roughness", "trend")
CONDITIONS: Final = (
    *("current", "level", "coldest", "current_square", "level_square", "coldest_square"),
    *("current_spread", "current_highest", "current_lowest", "current_roughness", "current_charge"),
    *("charge_spread", "charge_highest", "charge_lowest"),
)
FEATURES: Final = len(CONDITIONS) + RESPONSES * len(KINDS)
"""Conditions first, then the kinds of the first response, of the second, .."""


def write(graph: Graph, window: Tensor, mask: Tensor, steps: int) -> Tensor:
    """Features (1, FEATURES) of `window`, scaled, and `mask`, both (1, steps, channels)."""
    x, m = (graph.transpose(tensor, (0, 2, 1)) for tensor in (window, mask))
    time, one = graph.constant([2]), graph.constant(1.0)
    count = graph.node("Max", graph.node("ReduceSum", m, time, keepdims=1), one)

    def mean_of(tensor: Tensor, over: Tensor) -> Tensor:
        return graph.node("Div", graph.node("ReduceSum", tensor, time, keepdims=1), over)

    def rough(tensor: Tensor, over: Tensor) -> Tensor:
        parts = (graph.constant([0]), graph.constant([steps - 1]), graph.constant([1]), graph.constant([steps]))
        first = graph.node("Slice", tensor, parts[0], parts[1], time)
        second = graph.node("Slice", tensor, parts[2], parts[3], time)
        return mean_of(graph.node("Abs", graph.node("Sub", second, first)), over)

    def spread(tensor: Tensor, mean: Tensor, over: Tensor) -> Tensor:
        square = mean_of(graph.node("Mul", tensor, tensor), over)
        variance = graph.node("Sub", square, graph.node("Mul", mean, mean))
        return graph.node("Sqrt", graph.node("Max", variance, graph.constant(1e-8)))

    mean = mean_of(graph.node("Mul", x, m), count)
    centred = graph.node("Mul", graph.node("Sub", x, graph.node("Gather", mean, graph.constant(LEVEL), axis=1)), m)
    inputs, y = graph.split(centred, 1, [INPUTS, RESPONSES])
    current, charge = graph.split(inputs, 1, [1, 1])
    of_inputs, over = graph.split(count, 1, [INPUTS, RESPONSES])
    once = graph.split(of_inputs, 1, [1, 1])[0]

    third = steps // 3
    ends = np.zeros((1, 1, steps), dtype=np.float32)
    ends[..., :third], ends[..., -third:] = -1 / third, 1 / third
    y_mean = mean_of(y, over)
    kinds = [
        y_mean,
        spread(y, y_mean, over),
        graph.node("ReduceMax", y, axes=[2], keepdims=1),
        graph.node("ReduceMin", y, axes=[2], keepdims=1),
        mean_of(graph.node("Mul", y, current), over),
        mean_of(graph.node("Mul", y, charge), over),
        rough(y, over),
        graph.node("ReduceSum", graph.node("Mul", y, graph.constant(ends)), time, keepdims=1),
    ]
    levels = graph.node("Gather", mean, graph.constant([CURRENT, CELLS, COLDEST]), axis=1)
    zero = graph.constant(0.0)
    conditions = [
        levels,
        graph.node("Mul", levels, levels),
        spread(current, zero, once),
        graph.node("ReduceMax", current, axes=[2], keepdims=1),
        graph.node("ReduceMin", current, axes=[2], keepdims=1),
        rough(current, once),
        mean_of(graph.node("Mul", current, charge), once),
        spread(charge, zero, once),
        graph.node("ReduceMax", charge, axes=[2], keepdims=1),
        graph.node("ReduceMin", charge, axes=[2], keepdims=1),
    ]
    by_response = graph.node("Reshape", graph.node("Concat", *kinds, axis=2), graph.constant([1, -1]))
    told = graph.node("Reshape", graph.node("Concat", *conditions, axis=1), graph.constant([1, -1]))
    return graph.node("Concat", told, by_response, axis=1)


def begin(steps: int) -> tuple[Graph, Tensor]:
    """A graph with a bundle's inputs, and the features in it."""
    graph = Graph()
    shape = [1, steps, len(CHANNELS)]
    return graph, write(graph, graph.input("window", shape), graph.input("mask", shape), steps)


def features(data: Snippets) -> NDArray[np.float64]:
    """(n, FEATURES) of scaled windows, by the graph itself: what is fitted is what will be judged."""
    graph, found = begin(data.window.shape[1])
    graph.output("features", found, [1, FEATURES])
    session = open_session(graph.model().SerializeToString(), MEMORY)
    feeds = ({"window": w[None].numpy(), "mask": m[None].numpy()} for w, m in zip(data.window, data.mask, strict=True))
    return np.array([session.run(["features"], feed)[0][0] for feed in feeds], dtype=np.float64).reshape(-1, FEATURES)


def judged(graph: Graph, by_feature: Tensor) -> tuple[Tensor, Tensor]:
    """Score (1,) and contributions (1, RESPONSES) of (1, RESPONSES * KINDS) numbers >= 0: their means."""
    table = graph.node("Reshape", by_feature, graph.constant([1, RESPONSES, len(KINDS)]))
    contributions = graph.node("ReduceMean", table, axes=[2], keepdims=0)
    return graph.node("ReduceMean", contributions, axes=[1], keepdims=0), contributions


def finished(graph: Graph, score: Tensor, contributions: Tensor) -> onnx.ModelProto:
    graph.output("score", score, [1])
    graph.output("contributions", contributions, [1, RESPONSES])
    return graph.model()
