"""Pruning and quantization-aware training: they keep what they say, and learning goes on."""

import numpy as np
import pytest
import torch
from rich.progress import Progress

from training.compress.prune import parameters, prune
from training.compress.qat import rounded
from training.compress.student_graph import GIVEN, MADE, WEIGHT_MAX, ranges_of, write
from training.data.windows import Windows
from training.models.conv import ConvDyad, Size
from training.models.fit import Recipe, fit, judge
from training.models.pack import CHANNELS
from training.packs import snippets

pytestmark = pytest.mark.training
SMALL = Size(encoder=(8, 12, 12, 12), summary=8, decoder=12)


def test_nothing_pruned_is_the_same_net(student: ConvDyad, learnt_fleet: Windows) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    same = prune(student, student.size)
    assert judge(same, data)[0] == pytest.approx(judge(student, data)[0].numpy())


def test_a_pruned_net_is_smaller_and_recovers(student: ConvDyad, learnt_fleet: Windows) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    small = prune(student, SMALL)
    assert parameters(small) < 0.4 * parameters(student)
    small.eval()
    with torch.no_grad():
        before = small.loss(data, 0).item()
    with Progress(disable=True) as progress:
        fit(small, data, Recipe(steps=40, batch=16, learning_rate=2e-3), progress, "pruned")
    with torch.no_grad():
        assert small.loss(data, 0).item() < before


@pytest.mark.parametrize("size", [Size(decoder=32), Size(latent=4)])
def test_a_net_is_not_pruned_to_what_it_is_not(student: ConvDyad, size: Size) -> None:
    with pytest.raises(ValueError, match=r"not smaller|keeps steps and latent"):
        prune(student, size)


def test_training_with_roundings_leaves_float_weights_that_have_learnt(
    student: ConvDyad, learnt_fleet: Windows
) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    net = prune(student, student.size)  # a copy
    ranges = ranges_of(net, data)
    plain, _ = judge(net, data)
    with rounded(net, GIVEN, MADE, ranges, WEIGHT_MAX):
        aware, _ = judge(net, data)
        with Progress(disable=True) as progress:
            losses = fit(net, data, Recipe(steps=15, batch=16, learning_rate=5e-4), progress, "aware").losses
    difference = np.abs(aware.numpy() / plain.numpy() - 1)
    assert 0 < np.median(difference) < 0.1  # rounded, and near
    assert np.isfinite(losses).all()
    assert set(net.state_dict()) == set(student.state_dict())
    assert not torch.equal(net.decoder.enter.weight, student.decoder.enter.weight)
    write(net, ranges)  # and the graph takes them


def test_a_convolution_that_is_not_there_is_named(student: ConvDyad) -> None:
    with (
        pytest.raises(ValueError, match=r"no convolution named encoder\.none"),
        rounded(student, {"encoder.none": "x"}, {}, {}),
    ):
        pass
