"""The shipped pack detector from the ev-fault vehicles (training/train.py)."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from services.bus.errors import ConfigError
from services.inference.bundle import Manifest
from training.fit import Recipe
from training.train import train as train_vehicles


class Config(BaseModel):
    """What configs/dyad-int8.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(Recipe().steps, ge=1, description="Of the optimizer.")
    seed: int = Recipe().seed
    teacher: bool = Field(False, description="Train a GRU form first and distil it (minutes longer).")


def train(config: Config, data: Path, out: Path, console: Console, resume: bool) -> Manifest:
    """Raises as training.train.train."""
    if resume:
        raise ConfigError("--resume", "dyad", "a training of two minutes keeps no checkpoints; start it again")
    return train_vehicles(data, out, Recipe(steps=config.steps, seed=config.seed), console, teacher=config.teacher)
