"""The cell detector's net as a stream: one step a run, with its past as explicit state. The same answer as by windows.

Each convolution keeps the last 2 x dilation values of what it is given; at the beginning of a phase they are zeros, as
the window's padding. What it costs and saves is a row of docs/detection.md.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.compress.cell_graph import net_nodes
from training.compress.graph import Graph, Grid
from training.models.cell import COLUMNS, Net

Ranges = Mapping[str, tuple[float, float]]
State = dict[str, NDArray[Any]]


def windowed(net: Net, steps: int, ranges: Ranges | None = None) -> Graph:
    """(1, steps, columns) -> `mean` and `log_inverse` (1, 1, steps)."""
    return _build(net, steps, ranges, streams=False)


def streamed(net: Net, ranges: Ranges | None = None) -> Graph:
    """(1, 1, columns) and the states -> `mean` and `log_inverse` (1, 1, 1), and the states after it (`.._next`)."""
    return _build(net, 1, ranges, streams=True)


def beginning(net: Net, ranges: Ranges | None = None) -> State:
    """The states of a stream that has seen nothing."""
    width = net.enter.out_channels
    made: State = {}
    for i, dilation in enumerate(net.dilations):
        shape = (1, width, 2 * dilation)
        if ranges is None:
            made[f"state{i}"] = np.zeros(shape, dtype=np.float32)
        else:
            low, high = ranges[_label(i)]
            zero = Grid.over(0.0 if i == 0 else low, high).zero  # the first is behind a rectifier
            made[f"state{i}"] = np.full(shape, zero, dtype=np.uint8)
    return made


def next_state(model: onnx.ModelProto, made: list[NDArray[Any]]) -> State:
    """Of a run's outputs those that the next one is given."""
    names = [output.name for output in model.graph.output]
    return {
        name.removesuffix("_next"): value for name, value in zip(names, made, strict=True) if name.endswith("_next")
    }


def _build(net: Net, steps: int, ranges: Ranges | None, *, streams: bool) -> Graph:
    graph = Graph(ranges)
    window = graph.input("window", [1, steps, len(COLUMNS)])
    for name, made in zip(("mean", "log_inverse"), net_nodes(graph, net, window, streams=streams), strict=True):
        graph.output(name, made, [1, 1, steps])
    return graph


def _label(block: int) -> str:
    return "enter" if block == 0 else f"sum{block - 1}"
