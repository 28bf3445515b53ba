"""The cell detector as an ONNX graph: base (float), net (integer when ranges are given), head (float).

Float here are sums and products of numbers, no convolution and no product of matrices: some 20,000 multiplications a
window, beside two million of the net. Shapes inside are (1, steps) unless said.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from training.compress.calibrate import Ranges, observe
from training.compress.graph import WEIGHT_MAX, Graph, Tensor
from training.models.cell import (
    CHARGE,
    CHEMISTRIES,
    CHEMISTRY,
    COLUMNS,
    INPUTS,
    PHASE,
    SCALED_KNOTS,
    TIME,
    VOLTAGE,
    Net,
)
from training.models.cell import Values as Windows
from training.models.cell_fit import Voltage
from training.models.leak import BINS, SMALL, SQUARE, TOP, UNLIKE, Head

WIDTH = len(COLUMNS)
KNOTS = len(SCALED_KNOTS)


def build(
    model: Voltage,
    head: Head,
    steps: int,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    weight_max: int = WEIGHT_MAX,
) -> tuple[onnx.ModelProto, Graph]:
    """The graph with the interface of services/inference/bundle.py; float without `ranges`."""
    graph = Graph(ranges, weight_max)
    window = graph.input("window", [1, steps, WIDTH])
    mask = graph.input("mask", [1, steps, WIDTH])
    mean, inverse = _net(graph, model, window)
    rest, slope = _base(graph, model, window)
    deviation = graph.node("Mul", graph.node("Add", rest, mean), _column(graph, mask, VOLTAGE))
    score, square = _head(graph, head, window, deviation, inverse, slope, steps)
    graph.output("score", score, [1])
    graph.output("contributions", square, [1, 1])
    return graph.model(), graph


def calibrate(model: Voltage, head: Head, windows: Windows) -> Ranges:
    """Ranges of the net's tensors over healthy windows (n, steps, columns), scaled."""
    plain, graph = build(model, head, windows.shape[1])
    mask = np.ones((1, *windows.shape[1:]), dtype=np.float32)
    ranges = observe(plain, graph.observed, ({"window": w[None], "mask": mask} for w in windows))
    # voltage and current go in with weight 0 and are cut off; their range would make the others' steps coarse
    inputs = windows[..., INPUTS]
    return ranges | {"window": (float(inputs.min()), float(inputs.max()))}


def _net(graph: Graph, model: Voltage, window: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and one over sigma, (1, 1, steps)."""
    mean, log_inverse = net_nodes(graph, model.net, window)
    return mean, graph.node("Exp", log_inverse)


def net_nodes(graph: Graph, net: Net, window: Tensor, *, streams: bool = False) -> tuple[Tensor, Tensor]:
    """The net: mean and logarithm of one over sigma, (1, 1, steps).

    Args:
        streams: each block's past comes in and goes out as `state0`, .. instead of zeros before the window.
    """
    enter, *blocks, (weight, bias) = net.layers()
    hidden = graph.quantize("window", graph.transpose(window, [0, 2, 1]))
    hidden = graph.conv("enter", hidden, *enter, relu=True)
    for i, (block, dilation) in enumerate(zip(blocks, net.dilations, strict=True)):
        given, past = hidden, 2 * dilation
        if streams:
            given = graph.carried(f"state{i}", hidden, [1, len(enter[0]), past])
        pads = (0, 0) if streams else (past, 0)
        answer = graph.conv(f"block{i}", given, *block, pads=pads, dilation=dilation, relu=True)
        hidden = graph.add(f"sum{i}", hidden, answer)
    mean = graph.conv("mean", hidden, weight[:1], bias[:1])
    return mean, graph.conv("log_inverse", hidden, -0.5 * weight[1:], -0.5 * bias[1:])


def _base(graph: Graph, model: Voltage, window: Tensor) -> tuple[Tensor, Tensor]:
    """Base less the measured voltage, and slope; by the coefficients of the window's chemistry and phase."""
    base = model.base
    row = np.zeros(WIDTH)
    row[PHASE], row[CHEMISTRY] = 0.5 * len(CHEMISTRIES), 0.5  # as scaled both are -1 or 1
    first = graph.node("Gather", window, graph.constant(np.array(0)), axis=1)
    place = graph.node("ReduceSum", graph.node("Mul", first, graph.constant(row)), graph.constant([1]), keepdims=0)
    # 0, 1, .. and a quarter against rounding down
    place = graph.node("Add", place, graph.constant(np.array([0.5 * len(CHEMISTRIES) + 0.5 + 0.25])))
    place = graph.node("Cast", place, to=onnx.TensorProto.INT64)
    linear = base.linear.copy()
    linear[:, VOLTAGE] = -1.0
    sign = np.repeat([-1.0, 1.0], len(CHEMISTRIES))[:, None]
    table = np.concatenate([base.spline, base.spline * sign / COLUMNS[CHARGE].scale, linear, base.by_charge], axis=1)
    found = graph.node("Gather", graph.constant(table), place, axis=0)  # (1, coefficients)
    spline, bend, constant, by_charge = graph.split(found, 1, [KNOTS, KNOTS, WIDTH, WIDTH])
    charge = graph.node("Gather", window, graph.constant([CHARGE]), axis=2)  # (1, steps, 1)
    hinges = graph.node("Relu", graph.node("Sub", charge, graph.constant(SCALED_KNOTS)))
    coefficients = graph.node("Add", graph.node("Mul", charge, by_charge), constant)
    rest = graph.node("Add", _sum(graph, hinges, spline), _sum(graph, window, coefficients))
    return rest, graph.node("Relu", _sum(graph, graph.node("Sign", hinges), bend))


def _head(
    graph: Graph, head: Head, window: Tensor, deviation: Tensor, inverse: Tensor, slope: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """training/models/leak.py's features and score; and the sum of squared z, (1, 1)."""
    last = graph.constant([-1])
    z = graph.node("Mul", deviation, inverse)
    expected = graph.node("Mul", graph.node("Mul", slope, _column(graph, window, TIME)), inverse)
    bins = graph.node("Reshape", z, graph.constant([1, BINS, steps // BINS]))
    bins = graph.node("ReduceMean", bins, axes=[2], keepdims=0)
    square = graph.node("ReduceSumSquare", z, axes=[-1], keepdims=0)
    logarithm = graph.node("Log", graph.node("Add", square, graph.constant(SMALL[0])))
    top = graph.nodes("TopK", z, graph.constant([steps // TOP]), count=2, axis=-1, sorted=0)[0]
    top = graph.node("ReduceMean", top, axes=[-1], keepdims=0)
    matched = graph.node("ReduceSum", graph.node("Mul", z, expected), last, keepdims=0)
    norm = graph.node("ReduceL2", expected, axes=[-1], keepdims=0)
    fit = graph.node("Div", matched, graph.node("Add", norm, graph.constant(SMALL[1])))
    amplitude = graph.node("Add", graph.node("Mul", norm, norm), graph.constant(SMALL[2]))
    amplitude = graph.node("Div", matched, amplitude)
    final = graph.node("Gather", window, graph.constant(np.array(steps - 1)), axis=1)
    average = graph.node("ReduceMean", window, axes=[1], keepdims=0)
    table = graph.node("Concat", bins, logarithm, top, fit, amplitude, final, average, axis=1)
    strange = np.zeros_like(head.weight)
    strange[SQUARE] = UNLIKE
    both = graph.node("Mul", table, graph.constant(np.stack([head.weight, strange])))
    both = graph.node("ReduceSum", both, last, keepdims=0)
    bias = np.array([head.bias, head.strange[1] - UNLIKE * head.strange[0]])
    return graph.node("ReduceMax", graph.node("Add", both, graph.constant(bias)), axes=[0], keepdims=1), square


def _column(graph: Graph, tensor: Tensor, column: int) -> Tensor:
    return graph.node("Gather", tensor, graph.constant(np.array(column)), axis=2)


def _sum(graph: Graph, table: Tensor, weights: Tensor) -> Tensor:
    """(1, steps, k) by (1, k) or (1, steps, k) -> (1, steps): sums of products, as elementwise work."""
    return graph.node("ReduceSum", graph.node("Mul", table, weights), graph.constant([2]), keepdims=0)
