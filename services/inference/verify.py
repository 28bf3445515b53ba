"""Everything about a bundle that can be checked where it is to run. More than loading it: what it does with windows.

Errors (`BundleError`) are reasons not to use it; notes are what its reader should know.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from services.inference.bundle import MANIFEST, MODEL, Bundle, BundleError, load_bundle, open_session
from services.inference.window import Array

FLOAT_WORK: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"})
"""Operators that do a net's work in float."""
STEPS: Final = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # how far a column is moved, in its scale
RUNS: Final = 60  # for the latency


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle that passed.

    Args:
        size: of the graph [bytes].
        operators: how often each one runs for a window, as ONNX Runtime runs the graph on this machine.
        latency_ms: median of one window here, one thread.
    """

    bundle: Bundle
    size: int
    operators: Mapping[str, int]
    latency_ms: float
    notes: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Load a bundle (manifest, sha256, profile, the graph's shapes, a plain window), then try it.

    Raises:
        BundleError: naming file and rule.
    """
    bundle = load_bundle(folder)
    path = folder / MODEL
    plain = _plain(bundle)
    mask = np.ones_like(plain)
    first = bundle.run(plain, mask)[0]
    if bundle.run(plain, mask)[0] != first:
        raise BundleError(path, "repeatable", "the same window gives another score the second time")
    score, contributions = bundle.run(plain, np.zeros_like(mask))
    if not (np.isfinite(score) and np.isfinite(contributions).all()):
        raise BundleError(path, "mask", f"gives score {score} when nothing was measured")
    highest, moved = _moved(bundle, plain, first, path)
    notes = list(_notes(bundle, highest, moved))
    counts = operators(path)
    made = bundle.manifest.figures.get("operators")
    floats = sorted(FLOAT_WORK & set(counts))
    if isinstance(made, dict) and floats and not FLOAT_WORK & set(made):
        notes.append(f"runs {', '.join(floats)} in float on this machine; where it was made all of them were integer")
    return Verified(bundle, path.stat().st_size, counts, _latency_ms(bundle, plain, mask), tuple(notes))


def _plain(bundle: Bundle) -> Array:
    """A window at the scaler's centre."""
    centre = np.array([channel.offset for channel in bundle.manifest.channels], dtype=np.float32)
    return np.tile(centre, (bundle.manifest.window, 1))


def _moved(bundle: Bundle, plain: Array, first: float, path: Path) -> tuple[float, set[str]]:
    """Highest score of windows in which one column steps up or down halfway, and the columns that changed any.

    Raises:
        BundleError: such a window has no score, or no column changes it.
    """
    mask = np.ones_like(plain)
    highest, moved = first, set[str]()
    for column, channel in enumerate(bundle.manifest.channels):
        for step in (sign * size for size in STEPS for sign in (1, -1)):
            window = plain.copy()
            window[len(window) // 2 :, column] += step * channel.scale
            score, contributions = bundle.run(window, mask)
            if not (np.isfinite(score) and np.isfinite(contributions).all() and (contributions >= 0).all()):
                raise BundleError(path, "finite", f"gives score {score} when {channel.name} steps by {step:g} scales")
            highest = max(highest, score)
            if score != first:
                moved.add(channel.name)
    if not moved:
        raise BundleError(path, "score", f"is {first:g} whatever the window holds")
    return highest, moved


def _notes(bundle: Bundle, highest: float, moved: set[str]) -> Iterator[str]:
    manifest = bundle.manifest
    if highest <= manifest.score.threshold:
        yield f"no window that was tried scores above the threshold {manifest.score.threshold:g} (highest {highest:g})"
    deaf = [channel.name for channel in manifest.channels if channel.name not in moved]
    if deaf:
        yield f"a step of {', '.join(deaf)} alone did not change the score"
    if manifest.signature is not None:
        yield "is signed; the signature is not checked by this command"


def operators(path: Path) -> dict[str, int]:
    """How often each operator runs for one window, on this machine. Raises BundleError when the graph cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path.read_bytes(), path, profile=Path(folder) / "run")
        zeros = {node.name: np.zeros(node.shape, dtype=np.float32) for node in session.get_inputs()}
        session.run(None, zeros)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = (e["args"]["op_name"] for e in events if e.get("cat") == "Node" and "op_name" in e.get("args", {}))
    return dict(sorted(Counter(ran).items()))


def _latency_ms(bundle: Bundle, window: Array, mask: Array) -> float:
    times: list[float] = []
    for _ in range(RUNS):
        started = time.perf_counter()
        bundle.run(window, mask)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def where(folder: Path) -> Path:
    """The bundle's folder, also when one of its files is named."""
    return folder.parent if folder.name in (MANIFEST, MODEL) else folder
