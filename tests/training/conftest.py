"""What training's tests share: one thread, a small simulated fleet, a student that has learnt a little from it.

One thread: small nets lose by more, and so do the tests beside them.
"""

import pytest
import torch
from rich.progress import Progress

from training.data.windows import Windows
from training.models.conv import ConvDyad, Size
from training.models.fit import Recipe, fit
from training.models.pack import CHANNELS
from training.packs import healthy, simulated, snippets
from training.simulation.fleet import Fleet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fleet() -> Windows:
    """13 vehicles, one of each fault among them, six sessions each."""
    return simulated(Fleet(seed=5, healthy=7, faulty=1, sessions=4, late=2))


@pytest.fixture(scope="session")
def learnt_fleet(fleet: Windows) -> Windows:
    """Healthy windows of the vehicles that the student learns from."""
    return healthy(fleet.of_groups([f"sim-5-{number:04d}" for number in range(5)]))


@pytest.fixture(scope="session")
def student(learnt_fleet: Windows) -> ConvDyad:
    torch.manual_seed(1)
    net = ConvDyad(Size())
    data = snippets(learnt_fleet, CHANNELS)
    net.fit(data)
    before = net.eval().loss(data, 0).item()
    with Progress(disable=True) as progress:
        fit(net, data, Recipe(steps=120, batch=16), progress, "student")
    assert net.loss(data, 0).item() < 0.9 * before
    net.fit_units(data, CHANNELS)
    return net
