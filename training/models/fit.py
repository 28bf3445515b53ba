"""The training loop of every pack net: seeded, resumable, early stopping on vehicles that are not learnt from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress
from torch import Tensor, nn

from training.checkpoint import Checkpoint, Stateful
from training.models.snippets import Snippets

DEVICE: Final = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WATCHED: Final = 50  # steps over which the shown loss is averaged
JUDGED: Final = 256  # windows judged at once


class Recipe(BaseModel):
    """How a net is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(2500, ge=1, description="Of the optimizer.")
    batch: int = Field(48, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    floor: float = Field(0.1, gt=0, le=1, description="`cosine`: the last learning rate, as a part of the first.")
    weight_decay: float = Field(1e-2, ge=0)
    patience: int = Field(0, ge=0, description="Early stopping after so many checks without a better one; 0 = never.")
    check_every: int = Field(200, ge=1, description="Steps from one check on the held-out vehicles to the next.")
    seed: int = 7


class Net(Protocol):
    """What a net of this folder must be able to do besides being one."""

    def fit(self, data: Snippets) -> None: ...

    def loss(self, data: Snippets, step: int) -> Tensor: ...


class Best:
    """The parameters of the best check so far; part of a checkpoint."""

    def __init__(self) -> None:
        self.loss, self.step, self.checks_since, self.parameters = math.inf, 0, 0, dict[str, Tensor]()

    def see(self, loss: float, step: int, net: nn.Module) -> None:
        if loss < self.loss:
            self.loss, self.step, self.checks_since = loss, step, 0
            self.parameters = {name: value.detach().clone() for name, value in net.state_dict().items()}
        else:
            self.checks_since += 1

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


@dataclass(frozen=True, slots=True)
class Fitted:
    losses: list[float]  # of each step
    checks: list[tuple[int, float]]  # (step, mean score of the held-out windows)
    best_step: int  # from which the parameters are; the last one without early stopping


@dataclass(frozen=True, slots=True)
class Saves:
    """Where a training saves itself, and what makes it this training (configuration, data)."""

    path: Path
    about: Mapping[str, Any]
    resume: bool = False


def fit(
    net: nn.Module,
    data: Snippets,
    recipe: Recipe,
    progress: Progress,
    title: str,
    held_out: Snippets | None = None,
    saves: Saves | None = None,
) -> Fitted:
    """Train in place, on the GPU where there is one.

    Args:
        net: a module that is a `Net` as well.
        held_out: healthy windows of other vehicles; without them nothing is checked and the last step's net is kept.
    """
    torch.manual_seed(recipe.seed)
    net.to(DEVICE).train()
    learns: Any = net
    learns.fit(data)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = _schedule(optimizer, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    best = Best()
    losses: list[float] = []
    checks: list[tuple[int, float]] = []
    checkpoint = None
    if saves is not None:
        parts: dict[str, Stateful] = {"net": net, "optimizer": optimizer, "schedule": schedule, "best": best}
        about = {"title": title, "recipe": recipe.model_dump(), **saves.about}
        checkpoint = Checkpoint(saves.path, about, parts, [generator])
        if saves.resume and (record := checkpoint.resume()):
            losses, checks = record["losses"], [(int(step), float(loss)) for step, loss in record["checks"]]
    task = progress.add_task(title, total=recipe.steps, completed=len(losses))
    for step in range(len(losses), recipe.steps):
        if recipe.patience and best.checks_since >= recipe.patience:
            break
        drawn = torch.multinomial(data.weight, recipe.batch, replacement=True, generator=generator)
        loss = learns.loss(data.at(drawn, DEVICE), step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if held_out is not None and ((step + 1) % recipe.check_every == 0 or step + 1 == recipe.steps):
            checks.append((step + 1, judge(net, held_out)[0].mean().item()))
            best.see(checks[-1][1], step + 1, net)
        if checkpoint is not None:
            checkpoint.after(step, {"losses": losses, "checks": checks})
        if step % WATCHED == WATCHED - 1:
            shown = sum(losses[-WATCHED:]) / WATCHED
            progress.update(task, completed=step + 1, description=f"{title} loss {shown:.4f}")
    if recipe.patience and best.parameters:
        net.load_state_dict(best.parameters)
    if checkpoint is not None:
        checkpoint.save({"losses": losses, "checks": checks})
    progress.update(task, completed=recipe.steps)
    net.to("cpu").eval()
    return Fitted(losses, checks, best.step if recipe.patience and best.parameters else len(losses))


@torch.no_grad()
def judge(net: nn.Module, data: Snippets) -> tuple[Tensor, Tensor]:
    """Scores (n,) and contributions (n, responses) in evaluation mode, on the net's own device."""
    training, device = net.training, next(net.parameters()).device
    net.eval()
    made = [
        net(data.window[i : i + JUDGED].to(device), data.mask[i : i + JUDGED].to(device))
        for i in range(0, len(data), JUDGED)
    ]
    net.train(training)
    return torch.cat([part[0] for part in made]).cpu(), torch.cat([part[1] for part in made]).cpu()


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps, pct_start=0.2
        )
    if recipe.schedule == "cosine":
        least = recipe.floor * recipe.learning_rate
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.steps, eta_min=least)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
