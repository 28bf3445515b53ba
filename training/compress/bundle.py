"""A graph as a bundle's folder, and what ONNX Runtime makes of it."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final

import onnx

from services.inference.bundle import MANIFEST, MODEL, Manifest, open_session

FLOAT_WORK: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"})
"""Operators that do a net's work in float; none may be left in an INT8 graph as it runs."""


def operators(model: bytes) -> dict[str, int]:
    """How often each operator occurs in the graph as ONNX Runtime runs it on this machine."""
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / MODEL
        open_session(model, optimized, optimized)
        for node in onnx.load(optimized).graph.node:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def write_bundle(folder: Path, model: bytes, manifest: dict[str, Any]) -> Manifest:
    """Write model.onnx and manifest.json; the manifest is checked before anything is replaced."""
    checked = Manifest.model_validate(manifest | {"sha256": hashlib.sha256(model).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(model)
    (folder / MANIFEST).write_text(checked.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return checked
