"""DyAD as published: a variational autoencoder split by cause and effect.

The encoder, a bidirectional GRU, reads all channels of a snippet and gives a latent; the decoder, another, reads only
what the pack is *subjected to* (the system inputs) and, started from a linear map of the latent, must produce what the
pack *answers*. A head on the latent's mean predicts the mileage. Source: Zhang et al., Nature Communications 14:5940
(2023), and its code. One thing is not kept: the code reshapes the hidden state of both directions and layers without
bringing the batch to the front, so that each snippet's latent mixes the states of its neighbours in the batch; here
each keeps its own.

Shapes: window, mask (n, steps, columns), columns = inputs then responses, scaled.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.models.snippets import Snippets


class Shape(BaseModel):
    """A net's size and what it reads; the published ones are training/configs/dyad-{brand1,brand2,brand3,all}.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[str, ...] = Field(("soc", "current"), min_length=1, description="What the decoder is given.")
    responses: tuple[str, ...] = Field(min_length=1, description="What it must produce.")
    rnn: Literal["gru", "lstm"] = "gru"
    hidden: int = Field(64, ge=1)
    layers: int = Field(1, ge=1)
    latent: int = Field(32, ge=1)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.inputs, *self.responses)


class Loss(BaseModel):
    """Weights of the three terms, by the published names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nll_weight: float = 10.0
    kl_weight: float = Field(0.1, description="`anneal0`: what the Kullback-Leibler term's weight grows to.")
    kl_steps: int = Field(500, ge=1, description="`x0`: over how many steps it grows, linearly.")
    mileage_weight: float = Field(0.01, description="`latent_label_weight`; where no mileage is known the term is 0.")
    noise: float = Field(0.01, ge=0, description="`noise_scale` of the latent's sampling in training.")


class Reconstruction(NamedTuple):
    target: Tensor  # (n, steps, responses)
    output: Tensor
    mean: Tensor  # (n, latent)
    log_variance: Tensor
    mileage: Tensor  # (n,), scaled to 0..1 over the training snippets


class Dyad(nn.Module):
    """Args: huber: score by the Huber error (bend at 1) instead of the squared one."""

    mileage_range: Tensor

    def __init__(self, shape: Shape, loss: Loss, huber: bool = True) -> None:
        super().__init__()
        self.shape, self.terms, self.huber = shape, loss, huber
        rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[shape.rnn]
        options = {"num_layers": shape.layers, "bidirectional": True, "batch_first": True}
        states = 2 * shape.layers
        self.encoder = rnn(len(shape.columns), shape.hidden, **options)
        self.to_mean = nn.Linear(states * shape.hidden, shape.latent)
        self.to_log_variance = nn.Linear(states * shape.hidden, shape.latent)
        self.to_hidden = nn.Linear(shape.latent, states * shape.hidden)
        self.decoder = rnn(len(shape.inputs), shape.hidden, **options)
        self.output = nn.Linear(2 * shape.hidden, len(shape.responses))
        self.to_mileage = nn.Sequential(
            nn.Linear(shape.latent, max(shape.hidden // 2, 1)), nn.ReLU(), nn.Linear(max(shape.hidden // 2, 1), 1)
        )
        self.register_buffer("mileage_range", torch.tensor([0.0, 1.0]))

    def fit(self, data: Snippets) -> None:
        """Take from the training snippets what is not learnt by steps: the range of the mileage."""
        known = data.mileage[torch.isfinite(data.mileage)]
        if len(known) and known.max() > known.min():
            self.mileage_range = torch.stack([known.min(), known.max()]).to(self.mileage_range)

    def encode(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, (n, latent) each."""
        _, state = self.encoder(window)
        hidden = state[0] if self.shape.rnn == "lstm" else state
        flat = hidden.transpose(0, 1).flatten(1)
        return self.to_mean(flat), self.to_log_variance(flat)

    def decode(self, inputs: Tensor, latent: Tensor) -> Tensor:
        hidden = self.to_hidden(latent).unflatten(1, (2 * self.shape.layers, -1)).transpose(0, 1).contiguous()
        state = (hidden, torch.zeros_like(hidden)) if self.shape.rnn == "lstm" else hidden
        answer, _ = self.decoder(inputs, state)
        responses: Tensor = self.output(answer)
        return responses

    def reconstruct(self, window: Tensor) -> Reconstruction:
        """In training the latent is sampled, in evaluation it is its mean."""
        mean, log_variance = self.encode(window)
        latent = mean
        if self.training:
            latent = mean + self.terms.noise * torch.randn_like(mean) * (0.5 * log_variance).exp()
        inputs = len(self.shape.inputs)
        output = self.decode(window[..., :inputs], latent)
        return Reconstruction(window[..., inputs:], output, mean, log_variance, self.to_mileage(mean).squeeze(1))

    def loss(self, data: Snippets, step: int) -> Tensor:
        """Weighted smooth L1 + annealed KL + weighted mileage error; `step` of the optimizer, from 0."""
        made, terms = self.reconstruct(data.window), self.terms
        measured = data.mask[..., len(self.shape.inputs) :]
        error = nn.functional.smooth_l1_loss(made.output, made.target, reduction="none")
        reconstruction = (error * measured).sum() / measured.sum().clamp_min(1.0)
        divergence = -0.5 * (1 + made.log_variance - made.mean**2 - made.log_variance.exp()).sum(1).mean()
        low, high = self.mileage_range
        known = torch.isfinite(data.mileage)
        wanted = torch.where(known, (data.mileage - low) / (high - low), made.mileage.detach())
        mileage = ((made.mileage - wanted) ** 2).mean()
        weight = terms.kl_weight * min(1.0, (step + 1) / terms.kl_steps)
        return terms.nll_weight * reconstruction + weight * divergence + terms.mileage_weight * mileage

    def forward(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and contributions (n, responses), the bundle's interface; the score is their mean."""
        made = self.reconstruct(window)
        measured = mask[..., len(self.shape.inputs) :]
        error = (made.target - made.output).abs()
        bent = error.clamp(max=1.0) if self.huber else error
        cost = bent * (2 * error - bent)  # e^2; beyond the bend 2 e - 1
        contributions = (cost * measured).sum(1) / measured.sum(1).clamp(min=1.0)
        return contributions.mean(1), contributions
