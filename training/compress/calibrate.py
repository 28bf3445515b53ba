"""Ranges of a float graph's labelled tensors over healthy windows: what static quantization needs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.inference.bundle import open_session

Ranges = dict[str, tuple[float, float]]


def observe(
    model: onnx.ModelProto,
    observed: Mapping[str, str],
    feeds: Iterable[Mapping[str, NDArray[np.float32]]],
    share: float = 1.0,
) -> Ranges:
    """Run the float graph of training/compress/graph.py and take the range of each label.

    Args:
        observed: label -> tensor, Graph.observed.
        feeds: inputs of the graph, one mapping a run.
        share: of the runs whose extremes the range holds; 1 = MinMax. What lies beyond is clipped in the INT8 graph.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in dict.fromkeys(observed.values())
    )
    session = open_session(watched.SerializeToString(), Path("calibration"))
    runs = [session.run(list(observed.values()), dict(feed)) for feed in feeds]
    lows = np.array([[part.min() for part in run] for run in runs])
    highs = np.array([[part.max() for part in run] for run in runs])
    low, high = np.quantile(lows, 1 - share, axis=0), np.quantile(highs, share, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(observed)}
