"""The convolutional autoencoder, static INT8: the baseline that is a net."""

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import Manifest
from training.baselines import Baseline, finish, read
from training.compress.autoencoder_graph import quantized, write
from training.data.cut import WindowShape
from training.models.autoencoder import Autoencoder, Size
from training.models.fit import Recipe, Saves, fit
from training.sources import digest
from training.trainers.pack import SAVED, FleetConfig


class Config(BaseModel):
    """What configs/autoencoder.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "autoencoder"
    size: Size = Size()
    recipe: Recipe = Recipe()
    fleet: FleetConfig | None = FleetConfig()
    quantile: float = Field(0.99, gt=0, lt=1, description="Of healthy windows that were not learnt from: threshold.")
    calibration: int = Field(400, ge=1, description="Windows from which the ranges of INT8 are taken.")
    calibration_share: float = Field(0.98, gt=0, le=1, description="Of them, whose extremes the ranges hold.")


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Recordings to bundle.

    Args:
        data: folder of the ev-fault vehicles.
    Raises:
        DataError, SourceError: a recording is missing or cannot be read, or none is healthy.
        CheckpointError: what is resumed is of another training.
    """
    torch.set_num_threads(1)
    shape = WindowShape(window=config.size.steps)
    with Progress(console=console) as progress:
        learnt = read(data, shape, config.fleet, progress)
        data_digest = digest(learnt.train.window.numpy(), learnt.train.mask.numpy())
        about = {"config": config.model_dump(mode="json"), "data": data_digest}
        torch.manual_seed(config.recipe.seed)
        net = Autoencoder(config.size)
        fitted = fit(net, learnt.train, config.recipe, progress, config.name, None, Saves(out / SAVED, about, resume))
    net.fit_units(learnt.units)
    generator = torch.Generator().manual_seed(config.recipe.seed)
    drawn = torch.multinomial(learnt.train.weight, min(config.calibration, len(learnt.train)), generator=generator)
    model = quantized(net, learnt.train.at(drawn), config.calibration_share).SerializeToString()
    plain = write(net, None).model().SerializeToString()
    described = Baseline(
        config.name,
        "Convolutional autoencoder, static INT8",
        "Mean over responses and measured steps of the Huber error (bend at 3) between response and reconstruction, in "
        "units of a healthy window's; about 1 on a healthy window.",
        ("A baseline: a fault that is smooth is reconstructed as well as healthy windows are.",),
        config.model_dump(mode="json"),
    )
    more = {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "training_loss": [round(sum(part) / len(part), 4) for part in (fitted.losses[:50], fitted.losses[-50:])],
    }
    manifest = finish(out, model, described, learnt, shape, config.quantile, plain, more)
    (out / SAVED).unlink(missing_ok=True)
    return manifest
