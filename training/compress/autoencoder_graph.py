"""The autoencoder as an ONNX graph: float around integer nets, or all float."""

from collections.abc import Mapping

import numpy as np
import onnx

from training.compress.calibrate import observe
from training.compress.graph import Graph, Tensor
from training.compress.student_graph import feeds
from training.models.autoencoder import KERNELS, PATCH, Autoencoder
from training.models.pack import BEND, CHANNELS, INPUTS, LEVEL, RESPONSES
from training.models.snippets import Snippets


def write(net: Autoencoder, ranges: Mapping[str, tuple[float, float]] | None) -> Graph:
    """The same arithmetic as Autoencoder.forward for one window; `ranges` as in training/compress/graph.py."""
    graph = Graph(ranges)
    steps, shape = net.size.steps, [1, net.size.steps, len(CHANNELS)]
    window, mask = graph.input("window", shape), graph.input("mask", shape)
    mean = graph.node("ReduceMean", window, axes=[1], keepdims=1)
    standing = graph.node("Sub", window, graph.node("Gather", mean, graph.constant(LEVEL), axis=2))
    gain = net.level_gain.numpy()
    seen = graph.transpose(graph.node("Mul", standing, graph.constant(gain[None, None])), (0, 2, 1))
    made = _nets(graph, graph.quantize("seen", seen), net)
    patches = graph.node("Reshape", made, graph.constant([1, RESPONSES, PATCH, steps // PATCH]))
    patches = graph.transpose(patches, (0, 1, 3, 2))
    reconstruction = graph.node("Reshape", patches, graph.constant([1, RESPONSES, steps]))
    sizes = [INPUTS, RESPONSES]
    responses = graph.split(seen, 1, sizes)[1]
    measured = graph.split(graph.transpose(mask, (0, 2, 1)), 1, sizes)[1]

    error = graph.node("Mul", graph.node("Sub", responses, reconstruction), measured)
    share = graph.node("Mul", error, graph.constant(1 / (net.sigma.numpy()[None, :, None] * BEND)))
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", share, share), graph.constant(1.0)))
    time = graph.constant([2])
    # a step that was not measured adds the 1 that is taken off again
    total = graph.node("Sub", graph.node("ReduceSum", root, time, keepdims=0), graph.constant(float(steps)))
    count = graph.node("Max", graph.node("ReduceSum", measured, time, keepdims=0), graph.constant(1.0))
    contributions = graph.node("Div", graph.node("Mul", total, graph.constant(2 * BEND**2)), count)
    graph.output("score", graph.node("ReduceMean", contributions, axes=[1], keepdims=0), [1])
    graph.output("contributions", contributions, [1, RESPONSES])
    return graph


def quantized(net: Autoencoder, windows: Snippets, share: float = 1.0) -> onnx.ModelProto:
    """The INT8 graph; the ranges of activations are those of this `share` of these healthy windows."""
    plain = write(net, None)
    return write(net, observe(plain.model(), plain.observed, feeds(windows), share)).model()


def _nets(graph: Graph, seen: Tensor, net: Autoencoder) -> Tensor:
    w = {name: np.asarray(value.detach().numpy()) for name, value in net.state_dict().items()}

    def conv(layer: str, x: Tensor, pad: int, stride: int = 1, relu: bool = True) -> Tensor:
        weight, bias = w[f"{layer}.weight"], w[f"{layer}.bias"]
        return graph.conv(layer, x, weight, bias, pads=(pad, pad), stride=stride, relu=relu)

    x = seen
    for i, kernel in enumerate(KERNELS):
        x = conv(f"encoder.{2 * i}", x, kernel // 2, stride=2)
    x = conv(f"encoder.{2 * len(KERNELS)}", x, 1, relu=False)
    for layer in ("decoder.0", "decoder.2"):
        x = conv(layer, x, 1)
    return conv("decoder.4", x, 0, relu=False)
