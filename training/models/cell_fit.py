"""Fitting the cell's voltage model, and what it says of windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from training.checkpoint import Checkpoint, Stateful
from training.data.cell_steps import Phases
from training.models.cell import CHEMISTRY, COLUMNS, VOLTAGE, Base, Net, Values, loss, scale
from training.models.leak import Deviations

SHORTEST: Final = 64  # steps of a phase that a crop holds at least, where it reaches over an end
STEP_H: Final = 10.0 / 3600.0
CHUNK: Final = 256  # windows at once


class Recipe(BaseModel):
    """How a net is trained. Widths, epochs and rates are those first tried; they were not searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(32, ge=2, le=256)
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    epochs: float = Field(8.0, gt=0)
    batch: int = Field(80, ge=1)
    window: int = Field(128, ge=16)
    learning_rate: float = Field(6e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    ridge: float = Field(1.0, gt=0, description="Of the float base.")
    seed: int = 0


class Voltage:
    """Base and net together."""

    def __init__(self, base: Base, net: Net) -> None:
        self.base, self.net = base, net.eval()

    @torch.no_grad()
    def answer(self, scaled: Values) -> tuple[Values, Values]:
        """The net's mean and log-variance of windows (n, steps, columns)."""
        parts = [
            self.net(torch.from_numpy(np.ascontiguousarray(scaled[i : i + CHUNK].transpose(0, 2, 1))))
            for i in range(0, len(scaled), CHUNK)
        ]
        return (np.concatenate([p[0].numpy() for p in parts]), np.concatenate([p[1].numpy() for p in parts]))

    def deviations(self, windows: "CellWindows") -> Deviations:
        """What the head sees of windows."""
        mean, log_variance = self.answer(windows.scaled)
        return Deviations(
            self.base.predict(windows.scaled) + mean - windows.scaled[..., VOLTAGE],
            log_variance.astype(np.float64),
            self.base.slope(windows.scaled),
            windows.scaled,
            windows.volt_hours,
            windows.capacity,
        )


class CellWindows:
    """Windows from the beginning of each phase on, without overlap unless `stride` says so. of: each window's phase."""

    def __init__(
        self,
        phases: Phases,
        which: NDArray[np.intp],
        capacities: dict[int, float],
        window: int,
        stride: int | None = None,
    ) -> None:
        scaled: list[Values] = []
        hours: list[NDArray[np.float64]] = []
        of: list[int] = []
        for i in which:
            first, length = int(phases.first[i]), int(phases.length[i])
            values = phases.values[first : first + length]
            ready, counted = scale(values), np.cumsum(values[:, VOLTAGE].astype(np.float64) * STEP_H)
            for begin in range(0, length - window + 1, stride or window):
                scaled.append(ready[begin : begin + window])
                hours.append(counted[begin : begin + window])
                of.append(int(i))
        self.scaled, self.volt_hours = np.stack(scaled), np.stack(hours)
        chemistry = np.round(0.5 * self.scaled[:, 0, CHEMISTRY] + 0.5).astype(int)
        self.capacity = np.array([capacities[c] for c in chemistry])
        self.of = np.array(of, dtype=np.intp)

    def __len__(self) -> int:
        return len(self.scaled)


def fit(
    phases: Phases,
    which: NDArray[np.intp],
    recipe: Recipe,
    checkpoint: Path | None = None,
    resume: bool = False,
    told: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> tuple[Voltage, list[float]]:
    """Fit base and net to healthy phases.

    Args:
        checkpoint: where to save it each 200 steps; `resume` goes on from there.
        told: is told the step, the number of steps and the loss.
    Returns:
        the model and the loss of each step.
    """
    torch.manual_seed(recipe.seed)
    generator = np.random.default_rng(recipe.seed)
    scaled = scale(phases.values)
    base = Base.fit(scaled[phases.rows(which)], recipe.ridge)
    target = (scaled[:, VOLTAGE] - base.predict(scaled)).astype(np.float32)
    net = Net(recipe.width, recipe.dilations)
    length = phases.length[which]
    steps = max(10, int(recipe.epochs * length.sum() / (recipe.window * recipe.batch)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.25)
    parts: dict[str, Stateful] = {"net": net, "optimizer": optimizer, "schedule": schedule}
    saved = None
    losses: list[float] = []
    if checkpoint is not None:
        about = recipe.model_dump(mode="json") | {"phases": [int(which.sum()), len(which), int(length.sum())]}
        saved = Checkpoint(checkpoint, about, parts, [generator])
        losses = saved.resume() if resume else []
    net.train()
    for step in range(0 if saved is None else saved.step, steps):
        window, answer, mask = _crops(scaled, target, phases, which, length / length.sum(), recipe, generator)
        mean, log_variance = net(window)
        value = loss(mean, log_variance, answer, mask)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(value.detach()))
        told(step + 1, steps, losses[-1])
        if saved is not None:
            saved.after(step, losses)
    if saved is not None:
        saved.save(losses)
    return Voltage(base, net), losses


def _crops(
    scaled: Values,
    target: Values,
    phases: Phases,
    which: NDArray[np.intp],
    chance: NDArray[np.float64],
    recipe: Recipe,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch of crops, phases drawn by their length; one may reach over an end, where the mask is 0."""
    size = recipe.window
    window = np.zeros((recipe.batch, size, len(COLUMNS)), dtype=np.float32)
    answer, mask = np.zeros((2, recipe.batch, size), dtype=np.float32)
    for place, i in enumerate(generator.choice(which, recipe.batch, p=chance)):
        length, shortest = int(phases.length[i]), min(SHORTEST, size // 2)
        offset = int(generator.integers(0, max(1, length - shortest)))
        end = min(offset + size, length)
        rows = slice(phases.first[i] + offset, phases.first[i] + end)
        window[place, : end - offset], answer[place, : end - offset] = scaled[rows], target[rows]
        mask[place, : end - offset] = 1.0
    return torch.from_numpy(window).transpose(1, 2), torch.from_numpy(answer), torch.from_numpy(mask)
