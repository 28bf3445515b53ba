"""DyAD: an autoencoder split by cause and effect, and its small convolutional student.

The encoder reads all channels of a window and gives a latent; the decoder is driven by what the pack is *subjected to*
(current, counted charge) and, told by the latent what pack and state it is, must produce what the pack *answers*
(voltages, temperatures). A pack that answers otherwise than packs did in training cannot be reproduced: the error is
the score. Source: Zhang et al., Nature Communications 14:5940 (2023). Departures: windows of any driving or charging
instead of charging only; no mileage head (mileage is no channel); Huber error (a public re-training gained by it).

Shapes: window, mask (n, steps, channels) in CHANNELS' order, scaled; everything inside is (n, features, steps).
"""

from typing import Final

import torch
from torch import Tensor, nn

from services.inference.channels import ChannelSpec

VOLT, DEGREE = {"offset": 3.8, "scale": 0.1}, {"offset": 25.0, "scale": 5.0}
CHANNELS: Final = (
    ChannelSpec(name="current", role="input", offset=0.0, scale=50.0),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0.0, scale=5.0),
    ChannelSpec(name="voltage", role="response", per="cell_voltages", **VOLT),
    ChannelSpec(name="cell_voltages", role="response", across="mean", **VOLT),
    ChannelSpec(name="cell_voltage_max", role="response", **VOLT),
    ChannelSpec(name="cell_voltage_min", role="response", **VOLT),
    ChannelSpec(name="temperature_max", role="response", **DEGREE),
    ChannelSpec(name="temperature_min", role="response", **DEGREE),
)
"""Packs of 87 to 96 cells share a model: voltages are per cell."""

INPUTS: Final = 2
RESPONSES: Final = len(CHANNELS) - INPUTS
CURRENT, CHARGE, PACK, CELLS, HIGHEST, LOWEST, HOTTEST, COLDEST = range(len(CHANNELS))
AGAINST: Final = {HIGHEST: PACK, LOWEST: PACK}
"""Extremes are taken less the pack's voltage of the same moment (cells are polled one after the other, so their own
mean lags under load): what the whole pack does is judged once, in `voltage`."""
LEVEL: Final = {
    CHARGE: CHARGE,
    PACK: PACK,
    CELLS: CELLS,
    HIGHEST: CELLS,
    LOWEST: CELLS,
    HOTTEST: COLDEST,
    COLDEST: COLDEST,
}
LEVEL_LESS: Final = {HIGHEST: PACK, LOWEST: PACK}
"""Then each column less a level: the mean over the window of one column, less that of another. The level of charge,
voltage and temperature goes; how far the best and worst cell stand off the mean cell stays (a pack's voltage sensor is
off by up to 40 mV a cell between vehicles, so here the mean cell replaces it). Current keeps its zero."""
SEEN_NOISE, LEVEL_NOISE = 0.05, 0.3  # in training, against learning days by heart
RESOLUTION: Final = (0.005, 0.005, 0.005, 0.005, 0.5, 0.5)  # V, degC: no error below what the sensors resolve counts
HUBER: Final = 3.0  # errors beyond this many sigmas count linearly


class Features(nn.Module):
    """Scaled window -> (inputs, responses, levels), each of unit spread over the training windows."""

    against: Tensor
    against_on: Tensor
    plus: Tensor
    plus_on: Tensor
    minus: Tensor
    minus_on: Tensor
    gain: Tensor
    level_offset: Tensor
    level_gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, table in (("against", AGAINST), ("plus", LEVEL), ("minus", LEVEL_LESS)):
            columns = range(len(CHANNELS))
            self.register_buffer(name, torch.tensor([table.get(c, c) for c in columns]))
            self.register_buffer(f"{name}_on", torch.tensor([float(c in table) for c in columns]))
        self.register_buffer("gain", torch.ones(len(CHANNELS)))
        self.register_buffer("level_offset", torch.zeros(2))
        self.register_buffer("level_gain", torch.ones(2))

    def fit(self, windows: Tensor) -> None:
        """Take gains from training windows (n, steps, channels), scaled."""
        self.gain = 1.0 / self._standing(windows, windows.mean(1)).std((0, 1)).clamp_min(1e-3)
        levels = windows.mean(1)[:, [CELLS, COLDEST]]
        self.level_offset, self.level_gain = levels.mean(0), 1.0 / levels.std(0).clamp_min(1e-3)

    def _standing(self, window: Tensor, mean: Tensor) -> Tensor:
        """Columns picked, switched and added: a product of matrices would stay float in the INT8 graph."""
        level = mean.index_select(1, self.plus) * self.plus_on - mean.index_select(1, self.minus) * self.minus_on
        return window - window.index_select(2, self.against) * self.against_on - level.unsqueeze(1)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = window.mean(1)
        features = (self._standing(window, mean) * self.gain).transpose(1, 2)
        levels = torch.cat([mean[:, CELLS : CELLS + 1], mean[:, COLDEST : COLDEST + 1]], 1)
        levels = (levels - self.level_offset) * self.level_gain
        return features[:, :INPUTS], features[:, INPUTS:], levels.unsqueeze(2)


class Dyad(nn.Module):
    """What teacher and student share: features, loss, score. Subclasses give `encode` and `decode`."""

    sigma: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.features = Features()
        self.latent = latent
        self.register_buffer("sigma", torch.full((RESPONSES,), 0.3))

    def encode(self, inputs: Tensor, responses: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, each (n, latent, 1)."""
        raise NotImplementedError

    def decode(self, inputs: Tensor, latent: Tensor) -> Tensor:
        """Responses (n, RESPONSES, steps)."""
        raise NotImplementedError

    def reconstruct(self, window: Tensor, noise: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(responses, their reconstruction, latent mean, log-variance)."""
        inputs, responses, levels = self.features(window)
        if noise:
            seen = responses + SEEN_NOISE * torch.randn_like(responses)
            mean, log_variance = self.encode(inputs, seen, levels + LEVEL_NOISE * torch.randn_like(levels))
        else:
            mean, log_variance = self.encode(inputs, responses, levels)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if noise else mean
        return responses, self.decode(inputs, latent), mean, log_variance

    def forward(self, window: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n) and contributions (n, RESPONSES). The score is their mean; near 1 on a healthy window."""
        responses, reconstruction, _, _ = self.reconstruct(window)
        error = (responses - reconstruction).abs() / self.sigma.unsqueeze(1)
        bent = error.clamp(max=HUBER)
        huber = bent * (error + error - bent)  # e^2, then 2 * HUBER * e - HUBER^2
        measured = mask[:, :, INPUTS:].transpose(1, 2)
        contributions = (huber * measured).sum(2) / measured.sum(2).clamp(min=1.0)
        return contributions.mean(1), contributions

    def fit_sigma(self, window: Tensor, mask: Tensor) -> None:
        """Set the unit of error of each response: the middle healthy window's RMS error, or the sensor's."""
        responses, reconstruction, _, _ = self.reconstruct(window)
        measured = mask[:, :, INPUTS:].transpose(1, 2)
        square = ((responses - reconstruction) ** 2 * measured).sum(2) / measured.sum(2).clamp(min=1.0)
        scale = torch.tensor([spec.scale for spec in CHANNELS[INPUTS:]])
        floor = torch.tensor(RESOLUTION) / scale * self.features.gain[INPUTS:]
        self.sigma = torch.maximum(square.median(0).values.sqrt(), floor)


class GruDyad(Dyad):
    """The published form: bidirectional GRUs. A teacher only: ONNX Runtime cannot quantize a GRU."""

    def __init__(self, hidden: int = 48, latent: int = 8) -> None:
        super().__init__(latent)
        self.encoder = nn.GRU(INPUTS + RESPONSES, hidden, batch_first=True, bidirectional=True)
        self.to_latent = nn.Linear(2 * hidden + 2, 2 * latent)
        self.to_hidden = nn.Linear(latent, 2 * hidden)
        self.decoder = nn.GRU(INPUTS, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, RESPONSES)

    def encode(self, inputs: Tensor, responses: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        _, hidden = self.encoder(torch.cat([inputs, responses], 1).transpose(1, 2))
        latent = self.to_latent(torch.cat([hidden[0], hidden[1], levels.squeeze(2)], 1)).unsqueeze(2)
        mean, log_variance = latent.chunk(2, 1)
        return mean, log_variance

    def decode(self, inputs: Tensor, latent: Tensor) -> Tensor:
        hidden = self.to_hidden(latent.squeeze(2)).unflatten(1, (2, -1)).transpose(0, 1).contiguous()
        answer, _ = self.decoder(inputs.transpose(1, 2), hidden)
        responses: Tensor = self.output(answer).transpose(1, 2)
        return responses


class ConvEncoder(nn.Module):
    def __init__(self, width: int, latent: int, steps: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for source, target in ((INPUTS + RESPONSES, 16), (16, width), (width, width), (width, width)):
            blocks += [nn.Conv1d(source, target, 5, stride=2, padding=2), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks, nn.Conv1d(width, width, steps // 16), nn.ReLU())
        self.to_mean = nn.Conv1d(width + 2, latent, 1)
        self.to_log_variance = nn.Conv1d(width + 2, latent, 1)  # training only

    def forward(self, inputs: Tensor, responses: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        summary = torch.cat([self.blocks(torch.cat([inputs, responses], 1)), levels], 1)
        return self.to_mean(summary), self.to_log_variance(summary)


class ConvDecoder(nn.Module):
    """The latent scales (a resistance) and shifts (a level) what the inputs cause.

    It enters once, and no layer is bridged: each addition of two INT8 tensors costs as much as a convolution.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(INPUTS, width, 5, padding=2)
        self.told = nn.Conv1d(latent, 2 * width, 1)
        blocks: list[nn.Module] = []
        for dilation in (1, 3, 9, 27):
            blocks += [nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks, nn.Conv1d(width, RESPONSES, 1))

    def forward(self, inputs: Tensor, latent: Tensor) -> Tensor:
        scale, shift = self.told(latent).chunk(2, 1)
        answer: Tensor = self.blocks((self.enter(inputs) * scale + shift).relu())
        return answer


class ConvDyad(Dyad):
    """The student: convolutions only, padding inside them, so that static INT8 leaves no float Conv."""

    def __init__(self, width: int = 24, latent: int = 8, steps: int = 128) -> None:
        super().__init__(latent)
        self.encoder = ConvEncoder(width, latent, steps)
        self.decoder = ConvDecoder(width, latent)

    def encode(self, inputs: Tensor, responses: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(inputs, responses, levels)
        return mean, log_variance

    def decode(self, inputs: Tensor, latent: Tensor) -> Tensor:
        answer: Tensor = self.decoder(inputs, latent)
        return answer
