"""Scores that can be had of one net's errors: the published one, the shipped one, and others for comparison."""

import torch
from torch import Tensor

from training.models.fit import JUDGED
from training.models.pack import PackDyad
from training.models.snippets import Snippets

SQUARED, HUBER, MEANS, LARGEST, LATENT = "squared", "huber", "signed means", "largest response", "latent"
SHIPPED = "as shipped"


@torch.no_grad()
def variants(net: PackDyad, data: Snippets, healthy: Snippets) -> dict[str, Tensor]:
    """Name -> scores (n,).

    `squared`, `huber`, `signed means`: the mean over the responses; `latent`: distance of the latent from that of
    `healthy` windows (Mahalanobis).
    """
    net.eval()
    made: dict[str, list[Tensor]] = {}
    centre = torch.cat([latent(net, part) for part in parts(healthy)])
    inverse = torch.linalg.pinv(torch.cov(centre.T))
    for part in parts(data):
        error, count = net.errors(part.window, part.mask)
        moving, lasting = net.parts(part.window, part.mask)
        squared = ((error / net.units_at(part.window)[0].unsqueeze(1)) ** 2).sum(1) / count
        score, contributions = net(part.window, part.mask)
        off = latent(net, part) - centre.mean(0)
        found = {
            SQUARED: squared.mean(1),
            HUBER: (moving**2).mean(1),
            MEANS: lasting.mean(1),
            LARGEST: contributions.amax(1),
            SHIPPED: score,
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
