"""A small convolutional autoencoder: the baseline that reconstructs a window from itself.

Unlike DyAD it is told all channels at once and must press them through 16 steps of a few numbers; what a pack is
subjected to and what it answers are not told apart, so a fault that is itself smooth is reconstructed well.

Shapes: window, mask (n, steps, channels) in the order of CHANNELS, scaled.
"""

from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.models.pack import CHANNELS, INPUTS, LEVEL, RESOLUTION, RESPONSES, bent
from training.models.snippets import Snippets

PATCH: Final = 8  # steps that one of the latent's steps stands for
KERNELS: Final = (5, 5, 3)  # of the encoder's layers of stride 2


class Size(BaseModel):
    """Widths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(128, multiple_of=PATCH, description="Length of the window.")
    encoder: tuple[int, int, int] = Field((16, 24, 24), description="Widths of its layers of stride 2.")
    latent: int = Field(4, ge=1, description="Numbers for each eight steps of all channels.")
    decoder: int = Field(24, ge=1, description="Width.")


class Autoencoder(nn.Module):
    level_gain: Tensor
    sigma: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("level_gain", torch.ones(len(CHANNELS)))
        self.register_buffer("sigma", torch.full((RESPONSES,), 0.3))
        blocks: list[nn.Module] = []
        source = len(CHANNELS)
        for width, kernel in zip(size.encoder, KERNELS, strict=True):
            blocks += [nn.Conv1d(source, width, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
            source = width
        self.encoder = nn.Sequential(*blocks, nn.Conv1d(source, size.latent, 3, padding=1))
        self.decoder = nn.Sequential(
            nn.Conv1d(size.latent, size.decoder, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(size.decoder, size.decoder, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(size.decoder, RESPONSES * PATCH, 1),
        )

    @torch.no_grad()
    def fit(self, data: Snippets) -> None:
        """Take from the training windows what is not learnt by steps: each column's usual spread about its level."""
        share = (data.weight / data.weight.sum())[:, None, None]
        square = (self.standing(data.window.cpu()) ** 2 * share).sum(0).mean(0)
        self.level_gain = (1.0 / square.sqrt().clamp_min(1e-2)).to(self.level_gain.device)

    def standing(self, window: Tensor) -> Tensor:
        """Each column less its level."""
        return window - window.mean(1, keepdim=True)[:, :, list(LEVEL)]

    def reconstruct(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Responses less their level and their reconstruction, each (n, RESPONSES, steps), of unit spread."""
        seen = (self.standing(window) * self.level_gain).transpose(1, 2)
        patches = self.decoder(self.encoder(seen))  # (n, RESPONSES * PATCH, steps / PATCH)
        made = patches.unflatten(1, (RESPONSES, PATCH)).transpose(2, 3).flatten(2)
        return seen[:, INPUTS:], made

    def loss(self, data: Snippets, step: int) -> Tensor:
        responses, made = self.reconstruct(data.window)
        measured = data.mask[:, :, INPUTS:].transpose(1, 2)
        error = nn.functional.smooth_l1_loss(made, responses, beta=0.3, reduction="none")
        return (error * measured).sum() / measured.sum().clamp(min=1.0)

    def forward(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and contributions (n, RESPONSES), the bundle's interface; the score is their mean."""
        error, count = self.errors(window, mask)
        contributions = bent(error / self.sigma.unsqueeze(1)).sum(2) / count
        return contributions.mean(1), contributions

    def errors(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of the responses, 0 where not measured, (n, RESPONSES, steps); how many steps were measured."""
        responses, made = self.reconstruct(window)
        measured = mask[:, :, INPUTS:].transpose(1, 2)
        return (responses - made) * measured, measured.sum(2).clamp(min=1.0)

    @torch.no_grad()
    def fit_units(self, data: Snippets) -> None:
        """Set the units of error by healthy windows: the middle one's RMS, no less than the sensors resolve."""
        error, count = self.errors(data.window, data.mask)
        scale = torch.tensor([spec.scale for spec in CHANNELS[INPUTS:]])
        floor = torch.tensor(RESOLUTION) / scale * self.level_gain[INPUTS:]
        self.sigma = torch.maximum(((error**2).sum(2) / count).median(0).values.sqrt(), floor)
