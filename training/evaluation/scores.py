"""Windows through a bundle, or through a graph that is none yet: scores and contributions. No torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.inference.bundle import Bundle, load_bundle, open_session
from services.inference.channels import ChannelSpec
from services.inference.window import Array
from training.data.errors import DataError
from training.data.windows import Windows

Scores = NDArray[np.float64]
Run = Callable[[Array, Array], tuple[float, Array]]
"""Values and mask of one window, physical units -> score, contributions: Bundle.run."""
MEMORY: Final = Path("graph in memory")


def graph_run(model: bytes, specs: Sequence[ChannelSpec]) -> Run:
    """A graph with a bundle's interface, and its scaler."""
    session = open_session(model, MEMORY)
    offset = np.array([spec.offset for spec in specs], dtype=np.float32)
    factor = np.array([1.0 / spec.scale for spec in specs], dtype=np.float32)

    def run(values: Array, mask: Array) -> tuple[float, Array]:
        window = ((values - offset) * factor)[None]
        score, contributions = session.run(["score", "contributions"], {"window": window, "mask": mask[None]})
        return float(score[0]), contributions[0]

    return run


def scores(run: Run, windows: Windows) -> tuple[Scores, Scores]:
    """Scores (n,) and contributions (n, responses)."""
    made = [run(values, mask) for values, mask in zip(windows.filled(), windows.mask, strict=True)]
    width = len(made[0][1]) if made else 0
    return np.array([part[0] for part in made]), np.array([part[1] for part in made]).reshape(len(made), width)


def load_of_packs(folder: Path) -> Bundle:
    """Raises BundleError; DataError: it judges single cells."""
    bundle = load_bundle(folder)
    if bundle.manifest.of_cell:
        raise DataError(folder, "pack", f"{bundle.manifest.id} judges single cells, and these are packs")
    return bundle


def for_bundle(bundle: Bundle, windows: Windows, where: Path | str) -> Windows:
    """The columns and length that a bundle's manifest asks for. Raises DataError naming what is missing."""
    manifest = bundle.manifest
    return windows.require([c.name for c in manifest.channels], manifest.window, manifest.step_s, where)
