"""The pack detector in torch: what its float part explains, what its decoder sees, what its score is."""

import numpy as np
import pytest
import torch
from rich.progress import Progress

from training.data.windows import Windows
from training.models.conv import ConvDyad
from training.models.fit import Recipe, fit, judge
from training.models.gru import GruDyad, GruSize
from training.models.pack import BEND, CELLS, CHANNELS, INPUTS, LOWEST, PACK, PackDyad, bent
from training.packs import snippets

pytestmark = pytest.mark.training


def test_polynomial_explains_much_of_what_a_pack_answers(learnt_fleet: Windows, student: ConvDyad) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    with torch.no_grad():
        _, responses, _ = student.front.standing(data.window)
        _, rest, _ = student.front(data.window)
    assert (rest.std((0, 1)) < responses.std((0, 1))).all()
    assert rest[..., PACK - INPUTS].std() < 0.5 * responses[..., PACK - INPUTS].std()


def test_levels_of_voltage_and_charge_do_not_matter_to_features(student: ConvDyad) -> None:
    window = torch.randn(3, 128, len(CHANNELS))
    moved = window.clone()
    moved[..., 1:6] += 7.0
    for part, other in zip(student.front.standing(window)[:2], student.front.standing(moved)[:2], strict=True):
        assert part == pytest.approx(other.numpy(), abs=1e-4)


def test_decoder_is_told_of_responses_by_latent_and_levels_alone(student: ConvDyad, learnt_fleet: Windows) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    with torch.no_grad():
        inputs, rest, levels = student.front(data.window[:4])
        latent, _ = student.encode(inputs, rest, levels)
        other, _ = student.encode(inputs, rest + 3 * torch.randn_like(rest), levels)
        assert not torch.equal(student.decode(inputs, latent, levels), student.decode(inputs, other, levels))
        assert torch.equal(student.decode(inputs, latent, levels), student.decode(inputs, latent, levels))


@torch.no_grad()
def test_a_low_cell_scores_above_healthy_windows_and_a_better_one_does_not(
    student: ConvDyad, learnt_fleet: Windows
) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    healthy, _ = judge(student, data)
    low, better = data.at(torch.arange(len(data))), data.at(torch.arange(len(data)))
    low.window[..., LOWEST] -= 10.0  # 0.1 V
    scores, contributions = judge(student, low)
    assert scores.median() > 3 * healthy.quantile(0.9)
    assert (contributions.argmax(1) == LOWEST - INPUTS).float().mean() > 0.9
    moving, lasting = student.parts(low.window, low.mask)
    better.window[..., LOWEST] += 10.0  # the lowest cell nearer to the others: no fault
    assert student.parts(better.window, better.mask)[1][:, LOWEST - INPUTS].max() == 0
    assert (lasting[:, LOWEST - INPUTS] > moving[:, LOWEST - INPUTS]).float().mean() > 0.9


@torch.no_grad()
def test_units_follow_the_state_and_never_leave_what_healthy_windows_have(
    student: ConvDyad, learnt_fleet: Windows
) -> None:
    data = snippets(learnt_fleet, CHANNELS)
    low, high = (ends.exp() for ends in student.unit_ends)
    unseen = data.window.clone()
    unseen[..., 2:6] += 500.0  # 5 V above anything that was seen
    for window in (data.window, unseen, -100 * unseen):
        units = torch.cat(student.units_at(window), 1)
        assert (units >= low * 0.999).all()
        assert (units <= high * 1.001).all()
    assert torch.cat(student.units_at(data.window), 1).std(0).min() > 0
    error, count = student.errors(data.window, data.mask)
    size = ((error**2).sum(1) / count).sqrt()
    assert 0.3 < (size / student.units_at(data.window)[0]).median() < 3


def test_what_was_not_measured_does_not_count(student: ConvDyad, learnt_fleet: Windows) -> None:
    data = snippets(learnt_fleet, CHANNELS).at(torch.arange(8))
    data.mask[..., INPUTS:] = 0
    assert judge(student, data)[0].tolist() == [0] * 8


def test_error_bends() -> None:
    small, large = torch.tensor([0.1, -0.1]), torch.tensor([100.0, -100.0])
    assert bent(small) == pytest.approx([0.01, 0.01], rel=1e-2)
    assert bent(large) == pytest.approx([200 * BEND - 2 * BEND**2] * 2, rel=1e-2)


def test_teacher_of_the_published_form_learns(learnt_fleet: Windows) -> None:
    torch.manual_seed(2)
    net: PackDyad = GruDyad(GruSize(hidden=8, latent=4))
    data = snippets(learnt_fleet, CHANNELS).at(torch.arange(16))
    net.fit(data)
    before = net.eval().loss(data, 0).item()
    with Progress(disable=True) as progress:
        fit(net, data, Recipe(steps=25, batch=8, learning_rate=1e-2), progress, "teacher")
    net.fit_units(data, CHANNELS)
    assert net.loss(data, 0).item() < 0.8 * before
    assert torch.isfinite(judge(net, data)[0]).all()


def test_voltages_are_per_cell(fleet: Windows) -> None:
    pack, cells = fleet.values[..., PACK], fleet.values[..., CELLS]
    assert 2.5 < pack.min() < pack.max() < 4.3
    assert np.abs(pack - cells).mean() < 0.01
