"""The published DyAD as an ONNX graph, in float: ONNX Runtime quantizes no GRU."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.compress.graph import Graph, Tensor
from training.models.dyad import Dyad

Weights = Mapping[str, NDArray[np.float32]]
GATES: Final = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}  # of torch, in the order of ONNX (z r h; i o f c)


def write(net: Dyad, steps: int) -> Graph:
    """The same arithmetic as Dyad.forward for one window."""
    graph = Graph()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    inputs, responses = len(net.shape.inputs), len(net.shape.responses)
    window = graph.input("window", [1, steps, inputs + responses])
    mask = graph.input("mask", [1, steps, inputs + responses])
    cause, target = graph.split(window, 2, [inputs, responses])
    latent = _linear(graph, _recurrent(graph, net, "encoder", window, weights)[1], "to_mean", weights)
    hidden = _linear(graph, latent, "to_hidden", weights)
    start = graph.node("Reshape", hidden, graph.constant([2 * net.shape.layers, 1, net.shape.hidden]))
    answer = _recurrent(graph, net, "decoder", cause, weights, start)[0]  # (steps, 1, 2 hidden)
    made = graph.transpose(_linear(graph, answer, "output", weights), [1, 0, 2])

    measured = graph.split(mask, 2, [inputs, responses])[1]
    error = graph.node("Abs", graph.node("Sub", target, made))
    bent = graph.node("Min", error, graph.constant(1.0)) if net.huber else error
    cost = graph.node("Mul", bent, graph.node("Sub", graph.node("Add", error, error), bent))
    time = graph.constant([1])
    total = graph.node("ReduceSum", graph.node("Mul", cost, measured), time, keepdims=0)
    count = graph.node("Max", graph.node("ReduceSum", measured, time, keepdims=0), graph.constant(1.0))
    contributions = graph.node("Div", total, count)
    score = graph.node("ReduceMean", contributions, axes=[1], keepdims=0)
    graph.output("score", score, [1])
    graph.output("contributions", contributions, [1, responses])
    return graph


def _linear(graph: Graph, tensor: Tensor, layer: str, w: Weights) -> Tensor:
    product = graph.node("MatMul", tensor, graph.constant(np.ascontiguousarray(w[f"{layer}.weight"].T)))
    return graph.node("Add", product, graph.constant(w[f"{layer}.bias"]))


def _recurrent(
    graph: Graph, net: Dyad, name: str, window: Tensor, w: Weights, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All layers, both directions: (steps, 1, 2 hidden) and the last states as (1, 2 x layers x hidden)."""
    kind, hidden, layers = net.shape.rnn, net.shape.hidden, net.shape.layers
    starts = [None] * layers if start is None else graph.split(start, 0, [2] * layers)
    x, states = graph.transpose(window, [1, 0, 2]), []
    for layer in range(layers):
        weight, again, bias = (
            np.stack([_gates(w[f"{name}.{part}_l{layer}{way}"], kind) for way in ("", "_reverse")])
            for part in ("weight_ih", "weight_hh", "bias_ih")
        )
        second = np.stack([_gates(w[f"{name}.bias_hh_l{layer}{way}"], kind) for way in ("", "_reverse")])
        given = [graph.constant(part) for part in (weight, again, np.concatenate([bias, second], 1))]
        options = {"hidden_size": hidden, "direction": "bidirectional"}
        if kind == "gru":
            options["linear_before_reset"] = 1
        y, last = graph.nodes(kind.upper(), x, *given, None, starts[layer], count=2, **options)
        turned = graph.transpose(y, [0, 2, 1, 3])  # (steps, 1, 2, hidden)
        x = graph.node("Reshape", turned, graph.constant([0, 0, -1]))
        states.append(graph.node("Reshape", last, graph.constant([1, -1])))
    return x, graph.node("Concat", *states, axis=1) if layers > 1 else states[0]


def _gates(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    parts = np.split(values, len(GATES[kind]))
    return np.concatenate([parts[i] for i in GATES[kind]])
