"""A trained student as ONNX: float, then static INT8 (QDQ), then the bundle's folder."""

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor

from services.inference.bundle import MANIFEST, MODEL, Manifest, open_session
from training.dyad import CHANNELS, ConvDyad

OPSET: Final = 17
NETS: Final = ("/encoder/", "/decoder/")  # scopes that become integer; features and score are float sums around them
FLOAT_WORK: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"})


def export_float(net: ConvDyad, path: Path, steps: int) -> None:
    """Write the net with the bundle's interface (services/inference/bundle.py)."""
    example = torch.zeros(1, steps, len(CHANNELS))
    with warnings.catch_warnings():
        # the TorchScript exporter is deprecated; its successor writes weights beside the graph, 50 times slower
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (example, torch.ones_like(example)),
            str(path),
            input_names=["window", "mask"],
            output_names=["score", "contributions"],
            opset_version=OPSET,
            dynamo=False,
        )


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, window: Tensor, mask: Tensor) -> None:
        self._windows: Iterator[dict[str, NDArray[np.float32]]] = iter(
            [{"window": w[None].numpy(), "mask": m[None].numpy()} for w, m in zip(window, mask, strict=True)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._windows, None)


def quantize(source: Path, target: Path, window: Tensor, mask: Tensor) -> None:
    """Static INT8: weights per channel and symmetric (S8), activations U8 by MinMax over training windows."""
    model = onnx.load(source)
    nets = [node.name for node in model.graph.node if node.name.startswith(NETS)]
    fence(model)
    fenced = source.with_suffix(".fenced.onnx")
    onnx.save(model, fenced)
    logging.disable(logging.WARNING)  # it recommends a shape inference that this graph does not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            str(fenced),
            str(target),
            _Calibration(window, mask),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nets,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    logging.disable(logging.NOTSET)
    slim(target)


def fence(model: onnx.ModelProto) -> None:
    """Give the nets copies of what they take from the float graph around them.

    The quantizer puts *all* users of a tensor behind its INT8 form. The error must see the true responses: in INT8 they
    end at the range that was calibrated, and a fault would be cut down to look healthy.
    """
    outside = {v.name for v in model.graph.input}
    outside |= {name for node in model.graph.node if not node.name.startswith(NETS) for name in node.output}
    copies: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.name.startswith(NETS):
            for i, name in enumerate(node.input):
                if name in outside:
                    if name not in copies:
                        copies[name] = f"{name}_copy"
                        nodes.append(onnx.helper.make_node("Identity", [name], [copies[name]], f"fence{len(copies)}"))
                    node.input[i] = copies[name]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def slim(path: Path) -> None:
    """Drop what only people and shape inference need: a third of so small a file."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    model.graph.doc_string = ""
    names: dict[str, str] = {value.name: value.name for value in [*model.graph.input, *model.graph.output]}
    for initializer in model.graph.initializer:
        initializer.name = names.setdefault(initializer.name, f"w{len(names)}")
    for node in model.graph.node:
        node.name, node.doc_string = "", ""
        for group in (node.input, node.output):
            for i, name in enumerate(group):
                group[i] = names.setdefault(name, f"v{len(names)}") if name else ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def operators(model: bytes) -> dict[str, int]:
    """How often each operator occurs in the graph as ONNX Runtime runs it on this machine."""
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / MODEL
        open_session(model, optimized, optimized)
        for node in onnx.load(optimized).graph.node:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def write_bundle(folder: Path, model: Path, manifest: dict[str, Any]) -> Manifest:
    """Write model.onnx and manifest.json; the manifest is checked before anything is replaced."""
    content = model.read_bytes()
    checked = Manifest.model_validate(manifest | {"sha256": hashlib.sha256(content).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content)
    (folder / MANIFEST).write_text(checked.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return checked
