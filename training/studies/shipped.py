"""The shipped bundles of packs and the baselines, as they are, on whole simulated fleets: AUROC over vehicles.

They were learnt from other simulated vehicles (and real ones). Their score's form was compared on some of these fleets;
`untouched` is the one that no choice was made on.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from services.bus.settings import ROOT
from services.inference.bundle import load_bundle
from training.data.simulated import as_channels, windows
from training.evaluation.scores import scores
from training.evaluation.simulated import figures
from training.simulation.fleet import Fleet


class Config(BaseModel):
    """What configs/studies/shipped.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundles: tuple[str, ...] = ("dyad-int8", "dyad-fp32", "autoencoder", "mahalanobis")
    seeds: tuple[int, ...] = (2, 1, 3)
    untouched: tuple[int, ...] = Field((2,), description="Seeds of fleets that no choice was made on.")


def study(config: Config, data: Path, console: Console) -> dict[str, Any]:
    """Bundle -> seed -> figures."""
    bundles = [load_bundle(ROOT / "bundles" / name) for name in config.bundles]
    made: dict[str, Any] = {"untouched": list(config.untouched), "bundles": {b.manifest.id: {} for b in bundles}}
    for seed in config.seeds:
        fleet = windows(Fleet(seed=seed))
        for bundle in bundles:
            seen = as_channels(fleet, bundle.manifest.channels)
            made["bundles"][bundle.manifest.id][str(seed)] = figures(seen, scores(bundle.run, seen)[0])
        console.print(f"fleet of seed {seed} judged")
    return made
