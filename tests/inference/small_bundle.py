"""A bundle small enough to reckon by hand: the score is the mean over responses of mean |scaled value|."""

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

WINDOW, STRIDE = 6, 2
CHANNELS: list[dict[str, Any]] = [
    {"name": "current", "role": "input", "offset": 0.0, "scale": 1.0},
    {"name": "charge", "role": "input", "derived": "charge", "offset": 0.0, "scale": 1.0},
    {"name": "voltage", "role": "response", "per": "cell_voltages", "offset": 3.0, "scale": 0.5},
    {"name": "cell_voltages", "role": "response", "across": "mean", "offset": 3.0, "scale": 0.5},
]
MANIFEST: dict[str, Any] = {
    "name": "small",
    "version": "1.0.0",
    "title": "Small",
    "profile": "battery",
    "profile_version": 1,
    "channels": CHANNELS,
    "step_s": 10.0,
    "period_max_s": 30.0,
    "window": WINDOW,
    "stride": STRIDE,
    "hole_max": 2,
    "holes_max": 3,
    "score": {"definition": "mean of |x|", "threshold": 1.0, "threshold_from": "by hand"},
    "training": {},
    "figures": {},
}


def model(window: int = WINDOW, channels: int = len(CHANNELS), responses: int = 2, score: str = "score") -> bytes:
    """The graph; other shapes and names make it a bad one."""
    shape = [1, window, channels]
    nodes = [
        helper.make_node("Abs", ["window"], ["size"]),
        helper.make_node("Mul", ["size", "mask"], ["measured"]),
        helper.make_node("Slice", ["measured", "from", "to", "axis"], ["responses"]),
        helper.make_node("ReduceMean", ["responses"], ["contributions"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["contributions"], [score], axes=[1], keepdims=0),
    ]
    numbers = {"from": channels - responses, "to": channels, "axis": 2}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("window", "mask")],
        [
            helper.make_tensor_value_info(score, TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("contributions", TensorProto.FLOAT, [1, responses]),
        ],
        [helper.make_tensor(name, TensorProto.INT64, [1], [number]) for name, number in numbers.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def write_bundle(folder: Path, content: bytes | None = None, **changes: Any) -> Path:
    """Write a bundle with a right sha256, unless `changes` says otherwise."""
    content = model() if content is None else content
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    manifest = MANIFEST | {"sha256": hashlib.sha256(content).hexdigest()} | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
