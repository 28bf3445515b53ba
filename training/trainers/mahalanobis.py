"""Mahalanobis distance on summary features: the baseline of one matrix.

The responses' features are judged given the conditions': what a linear regression on load, level of charge and
temperature leaves of them, whitened. In the graph it is (x - m) W.
"""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import Manifest
from training.baselines import Baseline, finish, read
from training.compress.summary_graph import CONDITIONS, begin, features, finished, judged
from training.data.cut import WindowShape
from training.trainers.pack import FleetConfig

RIDGE: Final = 1e-3
FLOOR: Final = 0.05  # spread of a feature that counts at least: half a millivolt, 0.025 degC
Doubles = NDArray[np.float64]


class Config(BaseModel):
    """What configs/mahalanobis.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "mahalanobis"
    window: int = Field(128, ge=8)
    shrinkage: float = Field(0.05, ge=0, le=1, description="Part of the covariance that its diagonal alone gives.")
    fleet: FleetConfig | None = FleetConfig()
    quantile: float = Field(0.99, gt=0, lt=1, description="Of healthy windows that were not learnt from: threshold.")


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Recordings to bundle; nothing of it takes long enough to be resumed.

    Args:
        data: folder of the ev-fault vehicles.
    Raises:
        DataError, SourceError: a recording is missing or cannot be read, or none is healthy.
    """
    shape = WindowShape(window=config.window)
    with Progress(console=console) as progress:
        learnt = read(data, shape, config.fleet, progress)
    mean, matrix = fit(features(learnt.train), learnt.train.weight.numpy().astype(np.float64), config.shrinkage)
    model = write(mean, matrix, config.window).SerializeToString()
    about = Baseline(
        config.name,
        "Mahalanobis distance on summary features, given load, charge and temperature",
        "Squared Mahalanobis distance of the window's summary features from what its conditions lead to expect, by "
        "feature; about 1 on a healthy window.",
        ("A baseline: it judges what a window looks like on the whole, not its course in time.",),
        config.model_dump(mode="json"),
    )
    return finish(out, model, about, learnt, shape, config.quantile)


def fit(found: Doubles, weight: Doubles, shrinkage: float) -> tuple[Doubles, Doubles]:
    """Mean (FEATURES,) and matrix (FEATURES, responses' features) of (x - mean) @ matrix.

    Its values are uncorrelated and of spread 1 over the windows that were fitted, each by its weight. The symmetric
    root is taken, so that each of them still belongs to its feature.
    """
    share = weight / weight.sum()
    mean = share @ found
    centred = found - mean
    conditions, responses = centred[:, : len(CONDITIONS)], centred[:, len(CONDITIONS) :]
    size = np.sqrt(share @ conditions**2).clip(1e-6)  # ridge on conditions of equal size
    scaled = conditions / size
    gram = (scaled * share[:, None]).T @ scaled + RIDGE * np.eye(len(CONDITIONS))
    expected = np.linalg.solve(gram, (scaled * share[:, None]).T @ responses) / size[:, None]
    rest = responses - conditions @ expected
    covariance = (rest * share[:, None]).T @ rest
    diagonal = np.diag(np.diag(covariance))
    covariance = (1 - shrinkage) * covariance + shrinkage * diagonal + FLOOR**2 * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors @ np.diag(values**-0.5) @ vectors.T
    return mean, np.vstack([-expected, np.eye(len(covariance))]) @ whiten


def write(mean: Doubles, matrix: Doubles, steps: int) -> onnx.ModelProto:
    """The graph of a bundle."""
    graph, found = begin(steps)
    centred = graph.node("Sub", found, graph.constant(mean[None]))
    white = graph.node("MatMul", centred, graph.constant(matrix))
    return finished(graph, *judged(graph, graph.node("Mul", white, white)))
