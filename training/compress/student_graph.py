"""The student as an ONNX graph: float around integer nets, or all float."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from training.compress.calibrate import Ranges, observe
from training.compress.graph import Graph, Tensor
from training.models.conv import DILATIONS, KERNELS, ConvDyad
from training.models.pack import (
    AGAINST,
    BEND,
    CHANNELS,
    INPUTS,
    LASTING,
    LEVEL,
    LEVELS,
    MOVING,
    POWERS,
    RESPONSES,
    TIMES,
)
from training.models.snippets import Snippets

GIVEN: Final = {  # convolution -> label of what it is given, for quantization-aware training
    "encoder.blocks.0": "seen",
    **{f"encoder.blocks.{2 * i}": f"encoder.blocks.{2 * i - 2}" for i in range(1, len(KERNELS) + 1)},
    "encoder.to_mean": "summary",
    "decoder.scale": "told",
    "decoder.shift": "told",
    "decoder.enter": "cause",
    "decoder.blocks.0": "entered",
    **{f"decoder.blocks.{2 * i}": f"decoder.blocks.{2 * i - 2}" for i in range(1, len(DILATIONS) + 1)},
}
MADE: Final = {  # module -> label of what it gives, where no rectifier follows
    "encoder.to_mean": "latent",
    "decoder.scale": "scale",
    "decoder.shift": "shift",
    "decoder.enter": "enter",
    "decoder.scaled": "scaled",
    f"decoder.blocks.{2 * len(DILATIONS)}": "made",
}
WEIGHT_MAX: Final = 127
Weights = Mapping[str, NDArray[np.float32]]
TURN = (0, 2, 1)  # steps, channels -> channels, steps


def write(net: ConvDyad, ranges: Mapping[str, tuple[float, float]] | None, weight_max: int = WEIGHT_MAX) -> Graph:
    """The same arithmetic as ConvDyad.forward for one window.

    Args:
        ranges: of the float graph's labels, for the INT8 graph; None = the float one.
    """
    graph = Graph(ranges, weight_max)
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    shape = [1, net.size.steps, len(CHANNELS)]
    window, mask = graph.input("window", shape), graph.input("mask", shape)
    inputs, rest, level, powers = _front(graph, graph.transpose(window, TURN), weights)
    cause = graph.quantize("cause", inputs)
    seen = graph.quantize("seen", graph.node("Concat", inputs, rest, axis=1))
    # laid out as ONNX Runtime's integer kernels want it, this turn and those that they put in take each other away
    flat = graph.node("Reshape", level, graph.constant([1, 1, len(LEVELS)]))
    levels = graph.transpose(graph.quantize("levels", flat), TURN)
    latent = _encoder(graph, seen, levels, weights)
    made = _decoder(graph, cause, graph.concat("told", latent, levels), weights)
    measured = graph.transpose(graph.split(mask, 2, [INPUTS, RESPONSES])[1], TURN)
    units = _units(graph, powers, weights)
    _score(graph, graph.node("Sub", rest, made), measured, units, net.size.steps)
    return graph


def quantized(net: ConvDyad, windows: Snippets, share: float = 1.0, weight_max: int = WEIGHT_MAX) -> onnx.ModelProto:
    """The INT8 graph.

    Args:
        windows: healthy ones; the ranges of activations are those of this `share` of them.
    """
    return write(net, ranges_of(net, windows, share), weight_max).model()


def ranges_of(net: ConvDyad, windows: Snippets, share: float = 1.0) -> Ranges:
    """Of every label, over this share of the windows."""
    plain = write(net, None)
    return observe(plain.model(), plain.observed, feeds(windows), share)


def feeds(windows: Snippets) -> Iterator[dict[str, NDArray[np.float32]]]:
    for window, mask in zip(windows.window, windows.mask, strict=True):
        yield {"window": window[None].numpy(), "mask": mask[None].numpy()}


def _front(graph: Graph, window: Tensor, w: Weights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Everything by channels, then steps: sums along the steps and products over whole rows are quick."""
    mean = graph.node("ReduceMean", window, axes=[2], keepdims=1)
    centred = graph.node("Sub", window, graph.node("Gather", mean, graph.constant(LEVEL), axis=1))
    columns = range(len(CHANNELS))
    against = graph.node("Gather", centred, graph.constant([AGAINST.get(c, 0) for c in columns]), axis=1)
    on = graph.constant(np.array([[float(c in AGAINST)] for c in columns]))
    features = graph.node("Sub", centred, graph.node("Mul", against, on))
    inputs, responses = graph.split(features, 1, [INPUTS, RESPONSES])
    level = graph.node("Gather", mean, graph.constant(LEVELS), axis=1)
    level = graph.node("Mul", level, graph.constant(w["front.level_gain"][:, None]))

    power = graph.node("Pow", level, graph.constant(np.array(POWERS, dtype=np.float32).T))
    power = graph.node("ReduceProd", power, axes=[1], keepdims=1)  # (1, 1, powers)
    coefficients = graph.node("Mul", graph.constant(w["front.weight"][None]), power)
    coefficients = graph.node("ReduceSum", coefficients, graph.constant([2]), keepdims=1)
    by_time = graph.split(coefficients, 1, [RESPONSES] * TIMES)
    rest = graph.node("Sub", responses, by_time[INPUTS])
    for cause, coefficient in zip(graph.split(inputs, 1, [1] * INPUTS), by_time, strict=False):
        rest = graph.node("Sub", rest, graph.node("Mul", coefficient, cause))
    return inputs, rest, level, power


def _encoder(graph: Graph, seen: Tensor, levels: Tensor, w: Weights) -> Tensor:
    x = seen
    for i, kernel in enumerate(KERNELS):
        layer, pads = f"encoder.blocks.{2 * i}", (kernel // 2, kernel // 2)
        x = graph.conv(layer, x, w[f"{layer}.weight"], w[f"{layer}.bias"], pads=pads, stride=2, relu=True)
    layer = f"encoder.blocks.{2 * len(KERNELS)}"
    x = graph.conv(layer, x, w[f"{layer}.weight"], w[f"{layer}.bias"], relu=True)
    x = graph.concat("summary", x, levels)
    return graph.conv("latent", x, w["encoder.to_mean.weight"], w["encoder.to_mean.bias"])


def _decoder(graph: Graph, cause: Tensor, told: Tensor, w: Weights) -> Tensor:
    scale = graph.conv("scale", told, w["decoder.scale.weight"], w["decoder.scale.bias"])
    shift = graph.conv("shift", told, w["decoder.shift.weight"], w["decoder.shift.bias"])
    enter = graph.conv("enter", cause, w["decoder.enter.weight"], w["decoder.enter.bias"], pads=(2, 2))
    x = graph.add("entered", graph.multiply("scaled", enter, scale), shift, relu=True)
    for i, dilation in enumerate(DILATIONS):
        layer = f"decoder.blocks.{2 * i}"
        weight, bias = w[f"{layer}.weight"], w[f"{layer}.bias"]
        x = graph.conv(layer, x, weight, bias, pads=(dilation, dilation), dilation=dilation, relu=True)
    layer = f"decoder.blocks.{2 * len(DILATIONS)}"
    return graph.conv("made", x, w[f"{layer}.weight"], w[f"{layer}.bias"])


def _units(graph: Graph, powers: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """One over the size of a healthy window's error, (1, responses, 1), and one over its mean, (1, responses)."""
    logarithm = graph.node("Mul", graph.constant(-w["units"][None]), powers)
    logarithm = graph.node("ReduceSum", logarithm, graph.constant([2]), keepdims=0)
    low, high = graph.constant(-w["unit_ends"][1]), graph.constant(-w["unit_ends"][0])
    shares = graph.node("Exp", graph.node("Min", graph.node("Max", logarithm, low), high))
    size, mean = graph.split(shares, 1, [RESPONSES, RESPONSES])
    return graph.node("Unsqueeze", size, graph.constant([2])), mean


def _score(graph: Graph, difference: Tensor, measured: Tensor, units: tuple[Tensor, Tensor], steps: int) -> None:
    error, time = graph.node("Mul", difference, measured), graph.constant([2])
    count = graph.node("Max", graph.node("ReduceSum", measured, time, keepdims=0), graph.constant(1.0))
    share = graph.node("Mul", error, units[0])
    bend = graph.constant(BEND**2)
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", share, share), bend))
    # sqrt(e^2 + BEND^2) - BEND, x 2 BEND: a step that was not measured adds the BEND that is taken off again
    size = graph.node("Sub", graph.node("ReduceSum", root, time, keepdims=0), graph.constant(BEND * steps))
    size = graph.node("Div", graph.node("Max", size, graph.constant(0.0)), count)
    moving = graph.node("Sqrt", graph.node("Mul", size, graph.constant(2 * BEND * MOVING**2)))
    means = graph.node("Div", graph.node("Mul", graph.node("ReduceSum", error, time, keepdims=0), units[1]), count)
    signs = [graph.constant(side) for side in np.array(LASTING, dtype=np.float32).T]
    lasting = graph.node("Max", *(graph.node("Mul", means, sign) for sign in signs))
    contributions = graph.node("Add", moving, lasting)
    score = graph.node("ReduceMean", contributions, axes=[1], keepdims=0)
    graph.output("score", score, [1])
    graph.output("contributions", contributions, [1, RESPONSES])
