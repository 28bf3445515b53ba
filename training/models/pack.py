"""DyAD for packs in service: its structure around a float part that knows the coarse answer.

As in DyAD a latent is taken from all channels, and a decoder that is driven by the inputs only, told by the latent what
pack and state it is, must produce the responses. Departures: the coarse answer (ohmic drop, slope of the open-circuit
voltage, usual spread) comes from a polynomial in float, and the net has only the difference to give, so that INT8
resolves it; windows of driving as well as charging; no mileage head (mileage is no channel).

The score: of each response the signed mean of the error over the window, in which noise cancels and a small lasting
deviation does not, and a quarter of its (Huber) size; both in units that a healthy window has at such levels of
current, voltage and temperature (an empty pack's cells stand further apart), and so that one in ten healthy windows is
above 1 (some responses have longer tails than others); then the mean of the responses.
The nets are conv.py (shipped) and gru.py (the published form, a teacher: ONNX Runtime cannot quantize a GRU).

Shapes: window, mask (n, steps, channels) in the order of CHANNELS, scaled.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from services.inference.channels import ChannelSpec
from training.models.snippets import Snippets

CHANNELS: Final = (
    ChannelSpec(name="current", role="input", offset=0.0, scale=20.0),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0.0, scale=2.0),
    ChannelSpec(name="voltage", role="response", per="cell_voltages", offset=3.8, scale=0.01),
    ChannelSpec(name="cell_voltages", role="response", across="mean", offset=3.8, scale=0.01),
    ChannelSpec(name="cell_voltage_max", role="response", offset=3.8, scale=0.01),
    ChannelSpec(name="cell_voltage_min", role="response", offset=3.8, scale=0.01),
    ChannelSpec(name="temperature_max", role="response", offset=25.0, scale=0.5),
    ChannelSpec(name="temperature_min", role="response", offset=25.0, scale=0.5),
)
"""Packs of any number of cells share a model: voltages are per cell. Scales: about what the polynomial leaves."""

INPUTS: Final = 2
RESPONSES: Final = len(CHANNELS) - INPUTS
CURRENT, CHARGE, PACK, CELLS, HIGHEST, LOWEST, HOTTEST, COLDEST = range(len(CHANNELS))
LEVEL: Final = (CURRENT, CHARGE, PACK, CELLS, CELLS, CELLS, COLDEST, COLDEST)
"""Each column less a level, the mean over the window of the column named here: the levels of current, charge, voltage
and temperature go; how far the best and worst cell stand off the mean cell stays."""
AGAINST: Final = {HIGHEST: PACK, LOWEST: PACK}
"""Extremes less how far the pack's voltage stands off its own level at the same moment (cells are polled one after the
other, so their own mean lags under load): what the whole pack does is judged once, in `voltage`."""
LEVELS: Final = (CURRENT, CELLS, COLDEST)  # levels that encoder, decoder and polynomial are told
POWERS: Final = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1))
"""Of the levels: the coefficients of the polynomial."""
TIMES: Final = INPUTS + 1  # terms in time: current, charge, 1
RIDGE: Final = 1e-3
UNIT_RIDGE: Final = 1e-2
RESOLUTION: Final = (0.005, 0.005, 0.005, 0.005, 0.5, 0.5)  # V, degC, of a vehicle's sensors
BEND: Final = 3.0  # sigmas from which on an error counts linearly
MOVING: Final = 0.25  # weight of the error's size beside its lasting part
UNIT_FLOOR: Final = 0.1  # of RESOLUTION, added to a healthy window's error before its logarithm is taken
UNIT_ENDS: Final = (0.02, 0.98)
"""Quantiles of healthy windows' units that no unit passes: levels that were never seen make a score neither blind nor
shrill."""
TAIL: Final = 0.9  # quantile of a response's contributions in healthy windows that is 1
NOISE: Final = 0.05  # of what is seen, in training
LASTING: Final = ((-1, 1), (-1, 1), (0, 1), (-1, 0), (0, 1), (-1, 1))
"""Which sign of a response's lasting error counts, (below, above): a fault makes the highest cell stand off upwards,
the lowest downwards and the hottest probe hotter; less of these is no fault."""


class Front(nn.Module):
    """Scaled window -> inputs, what the float polynomial leaves of the responses, levels.

    Columns are picked and added, never multiplied by a matrix: that would stay float work in the INT8 graph.
    """

    weight: Tensor
    level_gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(TIMES * RESPONSES, len(POWERS)))
        self.register_buffer("level_gain", torch.ones(len(LEVELS)))

    def fit(self, data: Snippets) -> None:
        """Ridge regression of the responses on the polynomial, each window by its weight."""
        mean = data.window.mean(1)[:, list(LEVELS)]
        self.level_gain = 1.0 / mean.std(0).clamp_min(1e-3)
        inputs, responses, levels = self.standing(data.window)
        terms = (self.times(inputs).unsqueeze(3) * self.powers(levels)[:, None, None, :]).flatten(2)
        weight = (data.weight / data.weight.mean())[:, None, None]
        count = terms.shape[0] * terms.shape[1]
        gram = torch.einsum("nsi,nsj->ij", terms * weight, terms).double() / count
        moment = torch.einsum("nsi,nsr->ir", terms * weight, responses).double() / count
        spread = gram.diagonal().sqrt().clamp_min(1e-6)  # ridge on terms of equal size
        scaled = gram / spread / spread[:, None] + RIDGE * torch.eye(len(gram))
        solved = torch.linalg.solve(scaled, moment / spread[:, None]) / spread[:, None]
        by_time = solved.reshape(TIMES, len(POWERS), RESPONSES).transpose(1, 2)
        self.weight = by_time.reshape(TIMES * RESPONSES, len(POWERS)).float().contiguous()

    def standing(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and responses less their levels, (n, steps, ..), and levels (n, len(LEVELS))."""
        mean = window.mean(1, keepdim=True)
        centred = window - mean[:, :, list(LEVEL)]
        against = [AGAINST.get(column, 0) for column in range(len(CHANNELS))]
        on = torch.tensor([float(column in AGAINST) for column in range(len(CHANNELS))], device=window.device)
        features = centred - centred[:, :, against] * on
        return features[..., :INPUTS], features[..., INPUTS:], mean[:, 0, list(LEVELS)] * self.level_gain

    def powers(self, levels: Tensor) -> Tensor:
        """(n, len(POWERS))"""
        return torch.stack([(levels ** torch.tensor(p, device=levels.device)).prod(1) for p in POWERS], 1)

    def times(self, inputs: Tensor) -> Tensor:
        """(n, steps, TIMES)"""
        return torch.cat([inputs, torch.ones_like(inputs[..., :1])], 2)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs, responses, levels = self.standing(window)
        coefficients = (self.weight * self.powers(levels).unsqueeze(1)).sum(2).reshape(-1, TIMES, RESPONSES)
        coarse = (self.times(inputs).unsqueeze(3) * coefficients.unsqueeze(1)).sum(2)
        return inputs, responses - coarse, levels


class PackDyad(nn.Module):
    """Front, encoder, decoder, score. Subclasses give `encode` and `decode`."""

    unit: Tensor
    units: Tensor
    unit_ends: Tensor

    def __init__(self, steps: int, kl_weight: float = 1e-2, kl_steps: int = 800) -> None:
        super().__init__()
        self.steps, self.kl_weight, self.kl_steps = steps, kl_weight, kl_steps
        self.front = Front()
        self.register_buffer("unit", torch.ones(RESPONSES))  # spread of what the polynomial leaves, in training
        # logarithms of the units of size (first) and of the mean, by the levels' powers; their lowest and highest
        self.register_buffer("units", torch.zeros(2 * RESPONSES, len(POWERS)))
        self.register_buffer("unit_ends", torch.zeros(2, 2 * RESPONSES))

    def encode(self, inputs: Tensor, rest: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, (n, latent) each."""
        raise NotImplementedError

    def decode(self, inputs: Tensor, latent: Tensor, levels: Tensor) -> Tensor:
        """What the polynomial leaves of the responses, (n, steps, RESPONSES)."""
        raise NotImplementedError

    @torch.no_grad()
    def fit(self, data: Snippets) -> None:
        """Take from the training windows what is not learnt by steps."""
        device = self.unit.device
        self.cpu().front.fit(data)
        self.unit = self.front(data.window)[1].std((0, 1)).clamp_min(1e-2)
        self.to(device)

    def reconstruct(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(what the polynomial leaves of the responses, its reconstruction, latent mean, log-variance)."""
        inputs, rest, levels = self.front(window)
        if not self.training:
            mean, log_variance = self.encode(inputs, rest, levels)
            return rest, self.decode(inputs, mean, levels), mean, log_variance
        seen = rest + NOISE * torch.randn_like(rest)
        blurred = levels + NOISE * torch.randn_like(levels)
        mean, log_variance = self.encode(inputs, seen, blurred)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return rest, self.decode(inputs, latent, blurred), mean, log_variance

    def target(self, window: Tensor, rest: Tensor) -> Tensor:
        """What the reconstruction is to be."""
        return rest

    def loss(self, data: Snippets, step: int) -> Tensor:
        """Smooth L1 + annealed KL; `step` of the optimizer, from 0."""
        rest, reconstruction, mean, log_variance = self.reconstruct(data.window)
        target = self.target(data.window, rest)
        measured = data.mask[:, :, INPUTS:]
        error = nn.functional.smooth_l1_loss(reconstruction / self.unit, target / self.unit, beta=0.3, reduction="none")
        latent = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        weight = self.kl_weight * min(1.0, step / self.kl_steps)
        return (error * measured).sum() / measured.sum().clamp(min=1.0) + weight * latent

    def errors(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of the responses, 0 where not measured, (n, steps, RESPONSES); how many steps were measured."""
        rest, reconstruction, _, _ = self.reconstruct(window)
        measured = mask[:, :, INPUTS:]
        return (rest - reconstruction) * measured, measured.sum(1).clamp(min=1.0)

    def units_at(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Size and mean of a healthy window's error at these windows' levels, (n, RESPONSES) each."""
        powers = self.front.powers(self.front.standing(window)[2])
        low, high = self.unit_ends
        size, mean = torch.minimum(torch.maximum(powers @ self.units.T, low), high).exp().chunk(2, 1)
        return size, mean

    def parts(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Moving and lasting part of each response's error, in units of a healthy window's, (n, RESPONSES)."""
        error, count = self.errors(window, mask)
        size, mean = self.units_at(window)
        moving = (bent(error / size.unsqueeze(1)).sum(1) / count).sqrt()
        means = error.sum(1) / count / mean
        below, above = torch.tensor(LASTING, dtype=means.dtype, device=means.device).T
        return moving, torch.maximum(below * means, above * means)

    def forward(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and contributions (n, RESPONSES), the bundle's interface; the score is their mean."""
        moving, lasting = self.parts(window, mask)
        contributions = lasting + MOVING * moving
        return contributions.mean(1), contributions

    @torch.no_grad()
    def fit_units(self, data: Snippets, specs: Sequence[ChannelSpec]) -> None:
        """Set the units of error by healthy windows, each by its weight: a ridge regression of the logarithms."""
        error, count = self.errors(data.window, data.mask)
        floor = UNIT_FLOOR * torch.tensor([r / s.scale for r, s in zip(RESOLUTION, specs[INPUTS:], strict=True)])
        size, mean = ((error**2).sum(1) / count).sqrt(), (error.sum(1) / count).abs()
        wanted = torch.cat([(size + floor).log(), (mean + floor).log()], 1).double()
        powers = self.front.powers(self.front.standing(data.window)[2]).double()
        weighted = powers * (data.weight / data.weight.sum())[:, None]
        gram = weighted.T @ powers + UNIT_RIDGE * torch.eye(len(POWERS))
        self.units = torch.linalg.solve(gram, weighted.T @ wanted).T.float().contiguous()
        self.unit_ends = (powers.float() @ self.units.T).quantile(torch.tensor(UNIT_ENDS), 0)
        tail = weighted_quantile(self(data.window, data.mask)[1], data.weight, TAIL).log().repeat(2)
        self.units[:, 0] += tail  # the power 0 of all levels
        self.unit_ends += tail


def weighted_quantile(values: Tensor, weight: Tensor, quantile: float) -> Tensor:
    """Of each column of (n, columns)."""
    order = values.argsort(0)
    reached = weight[order].cumsum(0) / weight.sum()
    first = (reached < quantile).sum(0, keepdim=True).clamp(max=len(values) - 1)
    return values.gather(0, order.gather(0, first)).squeeze(0)


def bent(sigmas: Tensor) -> Tensor:
    """Pseudo-Huber error: e^2, far beyond the bend 2 BEND |e|."""
    return 2 * BEND**2 * ((1 + (sigmas / BEND) ** 2).sqrt() - 1)
