"""Scores that can be had of one net's errors: the published one, the shipped one, and others for comparison."""

import torch
from torch import Tensor

from training.models.fit import JUDGED
from training.models.pack import LASTING, PackDyad, bent
from training.models.snippets import Snippets

SQUARED, HUBER, MEANS, SHIPPED, LATENT = "squared", "huber", "signed means", "huber + signed means", "latent"


@torch.no_grad()
def variants(net: PackDyad, data: Snippets, healthy: Snippets) -> dict[str, Tensor]:
    """Name -> scores (n,). `latent`: distance of the latent from that of `healthy` windows (Mahalanobis), its prior."""
    net.eval()
    made: dict[str, list[Tensor]] = {}
    centre = torch.cat([latent(net, part) for part in parts(healthy)])
    inverse = torch.linalg.pinv(torch.cov(centre.T))
    for part in parts(data):
        error, count = net.errors(part.window, part.mask)
        scaled = error / net.sigma
        moving = (bent(scaled).sum(1) / count).mean(1)
        means = error.sum(1) / count / net.lasting
        below, above = torch.tensor(LASTING, dtype=means.dtype).T
        lasting = torch.maximum(below * means, above * means).mean(1)
        off = latent(net, part) - centre.mean(0)
        found = {
            SQUARED: ((scaled**2).sum(1) / count).mean(1),
            HUBER: moving,
            MEANS: lasting,
            SHIPPED: 0.5 * (moving + lasting),
            LATENT: ((off @ inverse) * off).sum(1),
        }
        for name, scores in found.items():
            made.setdefault(name, []).append(scores)
    return {name: torch.cat(scores) for name, scores in made.items()}


def latent(net: PackDyad, data: Snippets) -> Tensor:
    """Means, (n, latent)."""
    return net.encode(*net.front(data.window))[0]


def parts(data: Snippets) -> list[Snippets]:
    return [data.at(torch.arange(i, min(i + JUDGED, len(data)))) for i in range(0, len(data), JUDGED)]
