"""What a single cell answers to what it is subjected to, since its charge or discharge began.

    voltage = spline(charge; chemistry, direction) + linear terms      fitted by least squares, stays float
            + 20 mV x a small causal convolutional net on 13 inputs    becomes INT8

The net gives a mean and a log-variance. Its inputs hold no voltage but the phase's first: a model that is shown later
voltages adapts to a leak and cannot see it. Zero padding at a window's beginning costs it nothing that could be
measured against carrying its context over from window to window, since each input carries the past by itself.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.inference.channels import ChannelSpec

Floats = NDArray[np.float64]
Values = NDArray[np.float32]

CHEMISTRIES: Final = ("NMC523", "NMC811")
AVERAGES_S: Final = (30.0, 100.0, 300.0, 1000.0, 3000.0)
UNIT: Final = 0.02  # V; the net's and all deviations'
LEAK: Final = 0.02  # of the capacity an hour, about 50 ohm on 3 Ah: the unit of what a leak would have cost by now


def _input(name: str, offset: float, scale: float, **more: Any) -> ChannelSpec:
    return ChannelSpec(name=name, role="input", offset=offset, scale=scale, **more)


COLUMNS: Final = (
    _input("current", 0.0, 3.0),  # for counting; the net has it as a C-rate
    _input("c_rate", 0.0, 1.0, derived="c_rate"),
    _input("phase_charge", 0.5, 0.5, derived="phase_charge"),
    *(_input(f"c_rate_{s:g}", 0.0, 1.0, derived="c_rate_average", seconds=s) for s in AVERAGES_S),
    _input("phase_c_rate", 0.0, 1.0, derived="phase_c_rate"),
    _input("phase_log_time", 7.5, 2.5, derived="phase_log_time"),
    _input("phase", 0.0, 1.0, derived="phase"),
    _input("chemistry", 0.5, 0.5, derived="chemistry", among=CHEMISTRIES),
    _input("phase_first_voltage", 3.7, 0.4, derived="phase_first_voltage"),
    _input("phase_first_c_rate", 0.0, 1.0, derived="phase_first_c_rate"),
    _input("phase_time", 0.0, 3600.0 / LEAK, derived="phase_time"),  # for the head alone
    ChannelSpec(name="voltage", role="response", offset=3.7, scale=UNIT),
)
NAMES: Final = tuple(spec.name for spec in COLUMNS)
CHARGE, TIME, PHASE, CHEMISTRY, VOLTAGE = (
    NAMES.index(name) for name in ("phase_charge", "phase_time", "phase", "chemistry", "voltage")
)
INPUTS: Final = tuple(i for i, name in enumerate(NAMES) if name not in ("current", "phase_time", "voltage"))
LINEAR: Final = tuple(i for i in INPUTS if i not in (CHARGE, PHASE, CHEMISTRY))
"""Columns that enter the base linearly, and once more times the charge."""
GROUPS: Final = 2 * len(CHEMISTRIES)
"""A base of its own for each chemistry, in charge and in discharge."""
EMPTY: Final = (-0.2, -0.1, 0.0, 0.01, 0.02, 0.035, 0.055, 0.08, 0.12, 0.17, 0.23)
MIDDLE: Final = (0.3, 0.38, 0.46, 0.54, 0.62, 0.7, 0.77)
FULL: Final = (0.83, 0.88, 0.92, 0.95, 0.975, 1.0, 1.03)
KNOTS: Final = np.array(EMPTY + MIDDLE + FULL)
"""Of the spline, in parts of the capacity; dense where the curve is steep. The first two give a straight line."""
SCALED_KNOTS: Final = (KNOTS - COLUMNS[CHARGE].offset) / COLUMNS[CHARGE].scale


def scale(values: Values) -> Values:
    """As a bundle does: what its graph is given."""
    offset = np.array([spec.offset for spec in COLUMNS], dtype=np.float32)
    factor = np.array([1.0 / spec.scale for spec in COLUMNS], dtype=np.float32)
    return (values - offset) * factor


def groups(scaled: Values) -> NDArray[np.intp]:
    """Which base a step has: 0.. in discharge by chemistry, then in charge."""
    charging = (scaled[..., PHASE] > 0).astype(np.intp)
    return charging * len(CHEMISTRIES) + np.round(0.5 * scaled[..., CHEMISTRY] + 0.5).astype(np.intp)


class Base:
    """The float part: a linear spline over counted charge, and linear terms. In UNITs, of the scaled voltage.

    spline: (GROUPS, knots); linear, by_charge: (GROUPS, columns), 0 where a column does not enter.
    """

    def __init__(self, spline: Floats, linear: Floats, by_charge: Floats) -> None:
        self.spline, self.linear, self.by_charge = spline, linear, by_charge

    @classmethod
    def fit(cls, scaled: Values, ridge: float = 1.0) -> "Base":
        """Least squares over healthy steps (n, columns)."""
        spline = np.zeros((GROUPS, len(KNOTS)))
        linear, by_charge = np.zeros((2, GROUPS, len(COLUMNS)))
        group = groups(scaled)
        for g in np.unique(group):
            part = scaled[group == g].astype(np.float64)
            columns = part[:, LINEAR]
            design = np.concatenate([_hinges(part), columns, part[:, CHARGE, None] * columns], axis=1)
            normal = design.T @ design + ridge * np.eye(design.shape[1])
            found = np.linalg.solve(normal, design.T @ part[:, VOLTAGE])
            spline[g] = found[: len(KNOTS)]
            linear[g, list(LINEAR)], by_charge[g, list(LINEAR)] = found[len(KNOTS) :].reshape(2, -1)
        return cls(spline, linear, by_charge)

    def predict(self, scaled: Values) -> Floats:
        """Scaled voltage of steps (.., columns)."""
        group = groups(scaled)
        answer = (_hinges(scaled) * self.spline[group]).sum(-1) + (scaled * self.linear[group]).sum(-1)
        return np.asarray(answer + scaled[..., CHARGE] * (scaled * self.by_charge[group]).sum(-1))

    def slope(self, scaled: Values) -> Floats:
        """By how many UNITs a leak of the whole capacity would lower the voltage (>= 0), of steps (.., columns)."""
        group = groups(scaled)
        bent = ((_hinges(scaled) > 0) * self.spline[group]).sum(-1) / COLUMNS[CHARGE].scale
        return np.asarray(np.maximum(bent * np.sign(scaled[..., PHASE]), 0.0))


def _hinges(scaled: NDArray[Any]) -> Floats:
    return np.asarray(np.maximum(scaled[..., CHARGE, None] - SCALED_KNOTS, 0.0), dtype=np.float64)


class Net(nn.Module):
    """Causal convolutions with residual sums. (n, columns, steps) -> (n, 2, steps): mean, log-variance, in UNITs.

    Columns that are no inputs have weight 0, so that a bundle's window goes in as it is.
    """

    allowed: Tensor

    def __init__(self, width: int = 32, dilations: tuple[int, ...] = (1, 2, 4, 8, 16)) -> None:
        super().__init__()
        self.dilations = dilations
        self.enter, self.enter_norm = nn.Conv1d(len(COLUMNS), width, 1), nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in dilations)
        self.leave = nn.Conv1d(width, 2, 1)
        allowed = torch.zeros(1, len(COLUMNS), 1)
        allowed[:, list(INPUTS)] = 1.0
        self.register_buffer("allowed", allowed)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.enter_norm(self.enter(window * self.allowed)))
        for block, norm, dilation in zip(self.blocks, self.norms, self.dilations, strict=True):
            hidden = hidden + torch.relu(norm(block(nn.functional.pad(hidden, (2 * dilation, 0)))))
        mean, log_variance = self.leave(hidden).unbind(1)
        return mean, log_variance.clamp(-8.0, 6.0)

    def layers(self) -> list[tuple[Values, Values]]:
        """Weight and bias of each convolution with its batch norm folded in: enter, blocks, leave."""
        enter = _fold(self.enter, self.enter_norm)
        enter = (enter[0] * self.allowed.numpy(), enter[1])
        blocks = [_fold(block, norm) for block, norm in zip(self.blocks, self.norms, strict=True)]
        return [enter, *blocks, (_numpy(self.leave.weight), _numpy(self.leave.bias))]


def _fold(convolution: nn.Module, norm: nn.Module) -> tuple[Values, Values]:
    state: Mapping[str, Tensor] = norm.state_dict()
    gain = state["weight"] / (state["running_var"] + 1e-5).sqrt()
    weight, bias = convolution.state_dict()["weight"], convolution.state_dict()["bias"]
    return _numpy(weight * gain[:, None, None]), _numpy((bias - state["running_mean"]) * gain + state["bias"])


def _numpy(tensor: Tensor | None) -> Values:
    assert tensor is not None
    return tensor.detach().numpy().astype(np.float32)


def loss(mean: Tensor, log_variance: Tensor, target: Tensor, mask: Tensor, beta: float = 0.5) -> Tensor:
    """beta-NLL: likelihood weighted by variance^beta, so that steps of large variance are still learned.

    Source: Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation", ICLR 2022.
    """
    each = 0.5 * ((target - mean) ** 2 * (-log_variance).exp() + log_variance)
    return (each * log_variance.detach().exp() ** beta * mask).sum() / mask.sum()
