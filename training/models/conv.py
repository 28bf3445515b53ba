"""The shipped form of the pack detector: convolutions only, padding inside them, so that INT8 leaves none in float."""

from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.models.pack import CHANNELS, INPUTS, LEVELS, RESPONSES, PackDyad

DILATIONS: Final = (1, 3, 9, 27)
KERNELS: Final = (5, 5, 3, 3)  # of the encoder's layers of stride 2


class Size(BaseModel):
    """Widths of the student."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(128, multiple_of=16, description="Length of the window.")
    encoder: tuple[int, int, int, int] = Field((16, 24, 24, 24), description="Widths of its layers of stride 2.")
    summary: int = Field(16, ge=1, description="Width of what the encoder makes of the whole window.")
    latent: int = Field(8, ge=1)
    decoder: int = Field(24, ge=1, description="Width.")


class Encoder(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        source = len(CHANNELS)
        for width, kernel in zip(size.encoder, KERNELS, strict=True):
            blocks += [nn.Conv1d(source, width, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
            source = width
        last = nn.Conv1d(source, size.summary, size.steps // 2 ** len(KERNELS))
        self.blocks = nn.Sequential(*blocks, last, nn.ReLU())
        self.to_mean = nn.Conv1d(size.summary + len(LEVELS), size.latent, 1)
        self.to_log_variance = nn.Conv1d(size.summary + len(LEVELS), size.latent, 1)  # training only

    def forward(self, inputs: Tensor, rest: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([inputs, rest], 2).transpose(1, 2)
        summary = torch.cat([self.blocks(seen), levels.unsqueeze(2)], 1)
        return self.to_mean(summary), self.to_log_variance(summary)


class Decoder(nn.Module):
    """Latent and levels scale (a resistance) and shift (a level) what the inputs cause.

    They enter once, and no layer is bridged: each addition of two INT8 tensors costs as much as a convolution.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.decoder
        self.enter = nn.Conv1d(INPUTS, width, 5, padding=2)
        self.scale = nn.Conv1d(size.latent + len(LEVELS), width, 1)
        self.shift = nn.Conv1d(size.latent + len(LEVELS), width, 1)
        self.scaled = nn.Identity()  # a name for the product, which INT8 rounds
        blocks: list[nn.Module] = []
        for dilation in DILATIONS:
            blocks += [nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks, nn.Conv1d(width, RESPONSES, 1))

    def forward(self, inputs: Tensor, latent: Tensor, levels: Tensor) -> Tensor:
        told = torch.cat([latent, levels.unsqueeze(2)], 1)
        scaled = self.scaled(self.enter(inputs.transpose(1, 2)) * self.scale(told))
        answer: Tensor = self.blocks((scaled + self.shift(told)).relu())
        return answer.transpose(1, 2)


class ConvDyad(PackDyad):
    def __init__(self, size: Size, kl_weight: float = 1e-2, kl_steps: int = 800) -> None:
        super().__init__(size.steps, kl_weight, kl_steps)
        self.size = size
        self.encoder = Encoder(size)
        self.decoder = Decoder(size)

    def encode(self, inputs: Tensor, rest: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(inputs, rest, levels)
        return mean.squeeze(2), log_variance.squeeze(2)

    def decode(self, inputs: Tensor, latent: Tensor, levels: Tensor) -> Tensor:
        answer: Tensor = self.decoder(inputs, latent.unsqueeze(2), levels)
        return answer
