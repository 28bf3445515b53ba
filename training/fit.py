"""The training loop: one for teacher and student. Seeded; a minute or two on two cores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from training.dyad import CHANNELS, Dyad
from training.vehicles import WindowSet


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a net is trained. Chosen by the threshold spans of the vehicles, never by the test spans."""

    steps: int = 2500
    batch: int = 48
    learning_rate: float = 4e-3
    latent_weight: float = 1e-3  # of the Kullback-Leibler term (per latent and window); grows to this over a third
    teacher_weight: float = 0.3  # part of the target that is the teacher's reconstruction
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Tensors:
    """Windows ready for a net: scaled values, mask, and the weight with which each is drawn."""

    window: Tensor
    mask: Tensor
    weight: Tensor


def tensors(sets: Sequence[WindowSet]) -> Tensors:
    """Scale as a bundle does and put the vehicles together; a vehicle is drawn as the root of its windows.

    Raises:
        ValueError: there is no window at all.
    """
    filled = [part for part in sets if len(part)]
    if not filled:
        raise ValueError("no windows: the recordings are too short or too full of holes")
    offset = np.array([spec.offset for spec in CHANNELS], dtype=np.float32)
    scale = np.array([spec.scale for spec in CHANNELS], dtype=np.float32)
    return Tensors(
        torch.from_numpy((np.concatenate([part.values for part in filled]) - offset) / scale),
        torch.from_numpy(np.concatenate([part.mask for part in filled])),
        torch.cat([torch.full((len(part),), len(part) ** -0.5) for part in filled]),
    )


def fit(
    net: Dyad, data: Tensors, recipe: Recipe, progress: Progress, title: str, teacher: Dyad | None = None
) -> list[float]:
    """Train in place; return the loss of each step."""
    torch.manual_seed(recipe.seed)
    net.features.fit(data.window)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps, pct_start=0.2
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    task = progress.add_task(title, total=recipe.steps)
    losses: list[float] = []
    for step in range(recipe.steps):
        drawn = torch.multinomial(data.weight, recipe.batch, replacement=True, generator=generator)
        window, mask = data.window[drawn], data.mask[drawn]
        loss = _loss(net, window, mask, recipe, min(1.0, 3 * step / recipe.steps), teacher)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 20 == 19:
            progress.update(task, completed=step + 1, description=f"{title} loss {np.mean(losses[-20:]):.4f}")
    progress.update(task, completed=recipe.steps)
    return losses


def _loss(net: Dyad, window: Tensor, mask: Tensor, recipe: Recipe, ramp: float, teacher: Dyad | None) -> Tensor:
    responses, reconstruction, mean, log_variance = net.reconstruct(window, noise=True)
    target = responses
    if teacher is not None:
        with torch.no_grad():
            # the teacher's features have the same gains: both were fitted on the same windows
            target = torch.lerp(responses, teacher.reconstruct(window)[1], recipe.teacher_weight)
    measured = mask[:, :, 2:].transpose(1, 2)
    error = torch.nn.functional.smooth_l1_loss(reconstruction, target, beta=0.3, reduction="none")
    latent = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    return (error * measured).sum() / measured.sum() + ramp * recipe.latent_weight * latent
