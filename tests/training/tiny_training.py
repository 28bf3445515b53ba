"""A training of one small net that can be killed: `python -m tests.training.tiny_training CHECKPOINT RESULT`.

Prints each step and waits for a line before the next. Draws from every kind of generator, so that one left out of the
checkpoint changes the result.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.checkpoint import Checkpoint, replace_whole

STEPS = 60


def train(checkpoint_path: Path, result: Path, made: Callable[[int], object]) -> None:
    """`made` is told each step."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    own, draw = torch.Generator().manual_seed(4), np.random.default_rng(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    checkpoint = Checkpoint(
        checkpoint_path,
        {"steps": STEPS},
        {"net": net, "optimizer": optimizer, "schedule": schedule},
        [own, draw],
        every=5,
    )
    losses: list[float] = checkpoint.resume()
    for step in range(checkpoint.step, STEPS):
        x = torch.randn(16, 4, generator=own) + float(draw.normal()) + float(np.random.normal()) + random.random()
        loss = ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        checkpoint.after(step, losses)
        made(step)
    replace_whole(result, lambda path: torch.save([losses, net.state_dict()], path))


def wait(step: int) -> None:
    print("step", step, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), wait)
