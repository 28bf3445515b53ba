"""The published form of the pack detector's nets, bidirectional GRUs, on the same features: the teacher."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.models.pack import CHANNELS, INPUTS, LEVELS, RESPONSES, PackDyad


class GruSize(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 128
    hidden: int = Field(64, ge=1)
    latent: int = Field(8, ge=1)


class GruDyad(PackDyad):
    def __init__(self, size: GruSize, kl_weight: float = 1e-2, kl_steps: int = 800) -> None:
        super().__init__(size.steps, kl_weight, kl_steps)
        self.size = size
        hidden = size.hidden
        self.encoder = nn.GRU(len(CHANNELS), hidden, batch_first=True, bidirectional=True)
        self.to_latent = nn.Linear(2 * hidden + len(LEVELS), 2 * size.latent)
        self.to_hidden = nn.Linear(size.latent + len(LEVELS), 2 * hidden)
        self.decoder = nn.GRU(INPUTS, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, RESPONSES)

    def encode(self, inputs: Tensor, rest: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        _, state = self.encoder(torch.cat([inputs, rest], 2))
        mean, log_variance = self.to_latent(torch.cat([state[0], state[1], levels], 1)).chunk(2, 1)
        return mean, log_variance

    def decode(self, inputs: Tensor, latent: Tensor, levels: Tensor) -> Tensor:
        hidden = self.to_hidden(torch.cat([latent, levels], 1)).unflatten(1, (2, -1)).transpose(0, 1).contiguous()
        answer, _ = self.decoder(inputs, hidden)
        responses: Tensor = self.output(answer)
        return responses
