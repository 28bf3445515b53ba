"""The cell detector in small: what the net learns, what the head finds, what INT8 changes, and one command for all."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from services.inference.bundle import load_bundle
from tests.training.isc_ncm_set import Setup, write_set
from training.compress.bundle import FLOAT_WORK, operators
from training.compress.cell_graph import build
from training.configuration import load_plan
from training.data.splits import folds
from training.evaluation.isc_ncm import evaluate
from training.models.cell import COLUMNS, INPUTS, VOLTAGE, Net
from training.models.cell_fit import Recipe
from training.models.cell_folds import Part, Work, graph_scores
from training.models.leak import features, fit_head
from training.trainers.cell import Config, train

pytestmark = pytest.mark.training
QUIET = Console(file=io.StringIO())
SHORT = Recipe(width=8, dilations=(1, 4), epochs=6, batch=16)
SET = Setup({f"NCM811_{c}C_{d}CD": ("NCM811", "cccv", c, d) for c, d in ((1.0, 1.2), (1.1, 1.1), (1.2, 1.0))})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("isc_ncm"), SET)


@pytest.fixture(scope="module")
def work(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    torch.set_num_threads(1)
    return Work(data, tmp_path_factory.mktemp("work"), False, QUIET)


@pytest.fixture(scope="module")
def part(work: Work) -> Part:
    return work.part(folds(work.protocols, 3, 0)[0], SHORT, "fold")


def test_the_net_learns_what_the_base_leaves(part: Part, work: Work) -> None:
    assert np.mean(part.losses[-10:]) < np.mean(part.losses[:10]) - 0.2
    healthy = work.healthy()[part.windows.of]
    own_cell = part.deviations.deviation[healthy]
    assert np.abs(own_cell).mean() < 1.0  # 20 mV, on a protocol that it has not seen


def test_no_voltage_goes_in_but_the_phase_s_first() -> None:
    torch.manual_seed(0)
    net, window = Net(8, (1, 2)).eval(), torch.randn(1, len(COLUMNS), 128)
    other = window.clone()
    other[:, VOLTAGE] += 1.0
    assert torch.equal(net(window)[0], net(other)[0])
    other[:, INPUTS[0], 64:] += 1.0  # a later input: the past does not change
    assert torch.equal(net(window)[0][:, :64], net(other)[0][:, :64])
    assert not torch.equal(net(window)[0][:, 64:], net(other)[0][:, 64:])


def test_a_leak_is_found_that_the_head_was_never_shown(part: Part, work: Work) -> None:
    windows = part.deviations
    healthy, ohm = work.healthy()[part.windows.of], work.phases.ohm[part.windows.of]
    head = fit_head(windows.select(healthy), seed=0)
    score = head.score(windows)
    assert np.median(score[ohm == 10]) > np.quantile(score[healthy], 0.9)
    injected = head.score(windows.select(healthy).leaking(np.full(healthy.sum(), 10.0)))
    assert np.median(injected) > np.quantile(score[healthy], 0.9)  # as the true one does


def test_what_is_strange_scores_whatever_its_sign(part: Part, work: Work) -> None:
    windows = part.deviations.select(work.healthy()[part.windows.of])
    head = fit_head(windows, seed=0)
    above = windows.leaking(np.full(len(windows), -5.0))  # a voltage higher than any leak makes it
    assert np.median(head.odds(features(above))) < head.strange[1]
    assert np.median(head.score(above)) > head.strange[1]


def test_float_graph_is_the_model_and_int8_is_close_and_integer(part: Part, work: Work) -> None:
    head = work.head([part], 0)
    plain, integer = work.graphs(part.model, head, part.fold.train, 128)
    expected = head.score(part.deviations)
    assert graph_scores(plain, part.windows) == pytest.approx(expected, rel=1e-3, abs=2e-3)
    found = graph_scores(integer, part.windows)
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    counts = operators(integer)
    assert not FLOAT_WORK & set(counts)
    assert counts["QLinearConv"] == 1 + len(SHORT.dilations) + 2
    assert FLOAT_WORK & set(operators(plain))  # the count does see float convolutions


def test_a_held_step_counts_as_predicted(part: Part, work: Work) -> None:
    import onnxruntime as ort

    graph = build(part.model, work.head([part], 0), 128)[0].SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    window, mask = part.windows.scaled[:1].copy(), np.ones((1, 128, len(COLUMNS)), dtype=np.float32)
    mask[:, 40:60] = 0.0
    first = session.run(["score"], {"window": window, "mask": mask})[0]
    window[:, 40:60, VOLTAGE] += 30.0
    score, square = session.run(["score", "contributions"], {"window": window, "mask": mask})
    # the voltage still stands in the mean of its column, which weighs little; nothing is strange by it
    assert score == pytest.approx(first, abs=3.0)
    assert square.shape == (1, 1)
    assert square[0, 0] >= 0


def test_one_command_makes_a_bundle_that_finds_leaks_and_a_killed_one_goes_on_to_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(**SHORT.model_dump(), folds=2)
    manifest = train(config, data, tmp_path / "bundle", QUIET, resume=False)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.model_dump() == manifest.model_dump()
    assert not list(tmp_path.glob(".*"))
    figures = evaluate(tmp_path / "bundle", data, QUIET)
    assert figures["window"]["10"]["same_cell"] > 0.8
    assert figures["n"]["window"]["not_judged"] == 0

    import training.trainers.cell as trainer

    class Killed(BaseException):
        pass

    def killed(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:  # after the folds, before the last net
        patch.setattr(trainer, "cross_scores", killed)
        with pytest.raises(Killed):
            train(config, data, tmp_path / "again", QUIET, resume=False)
    assert (tmp_path / ".again.training" / "fold1.pt").exists()
    again = train(config, data, tmp_path / "again", QUIET, resume=True)
    assert again.sha256 == manifest.sha256


def test_the_shipped_bundle_is_of_the_committed_configuration() -> None:
    shipped = load_bundle(Path(__file__).resolve().parents[3] / "bundles" / "cell-int8")
    training = shipped.manifest.training
    config = load_plan("cell-int8").config.recipe().model_dump(mode="json")
    assert {name: training[name] for name in config} == config
    assert shipped.manifest.figures["bytes"] <= 30_000
