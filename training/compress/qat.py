"""Quantization-aware training: the net is trained on with the roundings of its INT8 form in the way.

Weights, what each convolution is given and what other modules give are rounded to their grids in every step
(straight-through gradients).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.compress.graph import WEIGHT_MAX, Grid


class RoundedWeight(nn.Module):
    """A weight as the graph will hold it: per output channel, symmetric."""

    def __init__(self, weight_max: int) -> None:
        super().__init__()
        self.weight_max = weight_max

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().amax((1, 2)).clamp_min(1e-8) / self.weight_max
        zero = torch.zeros_like(scale)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight, scale, zero, 0, -self.weight_max, self.weight_max
        )
        return rounded


@contextmanager
def rounded(
    net: nn.Module,
    given: Mapping[str, str],
    made: Mapping[str, str],
    ranges: Mapping[str, tuple[float, float]],
    weight_max: int = WEIGHT_MAX,
) -> Iterator[None]:
    """Within, `net` computes as its INT8 graph does.

    Args:
        given: a convolution's name -> label of what it is given.
        made: a module's name -> label of what it gives.
        ranges: of the labels, from calibrate.observe.
    """
    modules = dict(net.named_modules())
    layers = {name: layer for name, layer in modules.items() if isinstance(layer, nn.Conv1d) and name in given}
    missing = (given.keys() - layers.keys()) | (made.keys() - modules.keys())
    if missing:
        raise ValueError(f"no convolution named {sorted(missing)[0]}")
    hooks = [
        layer.register_forward_pre_hook(_before(Grid.over(*ranges[given[name]]))) for name, layer in layers.items()
    ]
    hooks += [modules[name].register_forward_hook(_after(Grid.over(*ranges[label]))) for name, label in made.items()]
    for layer in layers.values():
        parametrize.register_parametrization(layer, "weight", RoundedWeight(weight_max))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers.values():  # the float weights that were learnt; the graph rounds them alike
            kept = layer.parametrizations.weight.original.detach().clone()  # type: ignore[union-attr, operator]
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            layer.weight = nn.Parameter(kept)


def _before(grid: Grid) -> Callable[[nn.Module, Any], Any]:
    return lambda layer, given: (_rounded(given[0], grid), *given[1:])


def _after(grid: Grid) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    return lambda layer, given, made: _rounded(made, grid)


def _rounded(values: Tensor, grid: Grid) -> Tensor:
    made: Tensor = torch.fake_quantize_per_tensor_affine(values, grid.scale, grid.zero, 0, 255)
    return made
