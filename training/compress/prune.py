"""Structured pruning of the student: whole channels go, by the size of the weights that make and use them.

What is left is a smaller net of the same form, to be trained on.
"""

import torch
from torch import Tensor, nn

from training.models.conv import KERNELS, ConvDyad, Size


def prune(net: ConvDyad, size: Size) -> ConvDyad:
    """A net of that size with the strongest channels of `net`.

    Raises:
        ValueError: a width is larger than the net's, or steps or latent differ.
    """
    before = net.size
    widths = [*zip(size.encoder, before.encoder, strict=True), (size.summary, before.summary)]
    if any(new > old for new, old in [*widths, (size.decoder, before.decoder)]):
        raise ValueError(f"{size} is not smaller than {before}")
    if (size.steps, size.latent) != (before.steps, before.latent):
        raise ValueError("pruning keeps steps and latent")
    small = ConvDyad(size, net.kl_weight, net.kl_steps)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    chain = [f"encoder.blocks.{2 * i}" for i in range(len(KERNELS) + 1)]
    users = [*chain[1:], "encoder.to_mean"]
    for layer, user, width in zip(chain, users, [*size.encoder, size.summary], strict=True):
        kept = _strongest(state[f"{layer}.weight"], state[f"{user}.weight"], width)
        _keep(state, layer, kept, 0)
        also = ["encoder.to_mean", "encoder.to_log_variance"] if user == "encoder.to_mean" else [user]
        for name in also:  # levels follow the summary
            columns = state[f"{name}.weight"].shape[1]
            rest = torch.arange(net.size.summary, columns) if user == "encoder.to_mean" else kept[:0]
            _keep(state, name, torch.cat([kept, rest]), 1)
    chain = [f"decoder.blocks.{2 * i}" for i in range(5)]
    for i, layer in enumerate(chain):
        made_by = "decoder.enter" if i == 0 else chain[i - 1]
        kept = _strongest(state[f"{made_by}.weight"], state[f"{layer}.weight"], size.decoder)
        _keep(state, made_by, kept, 0)
        _keep(state, layer, kept, 1)
        if i == 0:  # scale and shift of the same channels
            _keep(state, "decoder.scale", kept, 0)
            _keep(state, "decoder.shift", kept, 0)
    small.load_state_dict(state)
    return small.eval()


def _strongest(made: Tensor, used: Tensor, width: int) -> Tensor:
    """Channels by the product of the L1 norms of the weights before and after."""
    strength = made.abs().sum((1, 2)) * used[:, : len(made)].abs().sum((0, 2))
    return strength.topk(width).indices.sort().values


def _keep(state: dict[str, Tensor], layer: str, kept: Tensor, axis: int) -> None:
    state[f"{layer}.weight"] = state[f"{layer}.weight"].index_select(axis, kept)
    if axis == 0:
        state[f"{layer}.bias"] = state[f"{layer}.bias"].index_select(0, kept)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
