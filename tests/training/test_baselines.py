"""The baselines by the bundle path, in small: what they compute, what they learn, what they are allowed to do."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from sklearn.ensemble import IsolationForest

from services.inference.bundle import Manifest, load_bundle
from services.inference.shelf import Shelf
from services.inference.verify import FLOAT_WORK, verify
from tests.training.synthetic import write_vehicles
from training.baselines import Learnt, read
from training.compress.autoencoder_graph import quantized, write
from training.compress.bundle import operators
from training.compress.summary_graph import CONDITIONS, FEATURES, KINDS, features
from training.configuration import load_plan
from training.data.cut import WindowShape
from training.data.errors import DataError
from training.data.windows import Windows
from training.evaluation.scores import graph_run, scores
from training.models.autoencoder import Autoencoder, Size
from training.models.fit import Recipe, fit
from training.models.pack import CHANNELS, LEVEL, RESPONSES
from training.models.snippets import Snippets
from training.packs import healthy
from training.trainers import isolation_forest, mahalanobis

pytestmark = pytest.mark.training
SILENT = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_vehicles(tmp_path_factory.mktemp("vehicles"))
    (path / "early.parquet").unlink()
    (path / "late.parquet").unlink()
    return path


@pytest.fixture(scope="module")
def learnt(folder: Path) -> Learnt:
    with Progress(disable=True) as progress:
        return read(folder, WindowShape(), None, progress)


def judged(model: bytes, windows: Windows) -> NDArray[np.float64]:
    return scores(graph_run(model, CHANNELS), windows)[0]


def by_hand(window: Any, mask: Any) -> dict[str, float]:
    """Some features of one window, as their names say."""
    x, m = window.numpy().astype(float), mask.numpy().astype(float)
    level = (x * m).sum(0) / m.sum(0)
    found: dict[str, float] = {"level": level[3], "coldest_square": level[7] ** 2}
    current = (x[:, 0] - level[0]) * m[:, 0]
    found |= {"current_highest": current.max(), "current_spread": np.sqrt((current**2).sum() / m[:, 0].sum())}
    for response in range(RESPONSES):
        column = response + 2
        y = (x[:, column] - level[LEVEL[column]]) * m[:, column]
        count = m[:, column].sum()
        found[f"mean {response}"] = y.sum() / count
        found[f"spread {response}"] = np.sqrt(max((y**2).sum() / count - (y.sum() / count) ** 2, 1e-8))
        found[f"lowest {response}"] = y.min()
        found[f"with_current {response}"] = (y * current).sum() / count
        found[f"roughness {response}"] = np.abs(np.diff(y)).sum() / count
        found[f"trend {response}"] = y[-42:].mean() - y[:42].mean()
    return found


def test_features_in_the_graph_are_what_their_names_say(learnt: Learnt) -> None:
    some = learnt.train.at(torch.arange(0, len(learnt.train), 40))
    some.mask[0, 20:50, 4] = 0  # a hole in the highest cell
    found = features(some)
    assert found.shape == (len(some), FEATURES)
    for row, window, mask in zip(found, some.window, some.mask, strict=True):
        for name, value in by_hand(window, mask).items():
            kind, _, response = name.partition(" ")
            place = (
                len(CONDITIONS) + int(response) * len(KINDS) + KINDS.index(kind) if response else CONDITIONS.index(name)
            )
            assert row[place] == pytest.approx(value, rel=2e-3, abs=2e-3), name


def test_whitened_features_are_uncorrelated_and_know_nothing_of_the_conditions() -> None:
    draw = np.random.default_rng(0)
    conditions = draw.normal(size=(4000, len(CONDITIONS)))
    mixed = draw.normal(size=(4000, 48)) @ draw.normal(size=(48, 48))
    found = np.hstack([conditions, 5 + conditions @ draw.normal(size=(len(CONDITIONS), 48)) + mixed])
    mean, matrix = mahalanobis.fit(found, np.ones(4000), 0.0)
    white = (found - mean) @ matrix
    assert white.T @ white / 4000 == pytest.approx(np.eye(48), abs=0.1)  # the floor takes a little of the smallest
    assert np.abs(conditions.T @ white / 4000).max() < 0.01
    hard = found[0] + np.r_[np.full(len(CONDITIONS), 8.0), np.zeros(48)]  # unusual use that is not answered as usual
    assert (((hard - mean) @ matrix) ** 2).mean() > 3 * (white[0] ** 2).mean()


def test_mahalanobis_graph_is_the_distance(learnt: Learnt) -> None:
    found = features(learnt.train)
    mean, matrix = mahalanobis.fit(found, learnt.train.weight.numpy().astype(float), 0.05)
    windows = learnt.real["test"]
    score, contributions = scores(
        graph_run(mahalanobis.write(mean, matrix, 128).SerializeToString(), CHANNELS), windows
    )
    offset, scale = (np.array([getattr(c, name) for c in CHANNELS]) for name in ("offset", "scale"))
    window = torch.from_numpy(((windows.filled() - offset) / scale).astype(np.float32))
    data = Snippets(window, torch.from_numpy(windows.mask), torch.ones(len(window)), torch.ones(len(window)))
    expected = (((features(data) - mean) @ matrix) ** 2).reshape(-1, RESPONSES, len(KINDS)).mean(2)
    assert contributions == pytest.approx(expected, rel=0.02, abs=1e-2)
    assert score == pytest.approx(expected.mean(1), rel=0.02, abs=1e-2)


def test_the_forest_in_the_graph_is_scikit_learns(learnt: Learnt) -> None:
    found = features(learnt.train).astype(np.float32)
    forest = IsolationForest(n_estimators=8, random_state=1).fit(found)
    model = isolation_forest.write(forest, found, 128).SerializeToString()
    windows = healthy(learnt.real["train"]).select(np.arange(0, len(found), 50))
    score, contributions = scores(graph_run(model, CHANNELS), windows)
    assert len(np.unique(score)) > 3
    assert score == pytest.approx(-forest.score_samples(found[::50]), abs=5e-3)
    assert (contributions >= 0).all()


@pytest.fixture(scope="module")
def net(learnt: Learnt) -> Autoencoder:
    torch.manual_seed(1)
    made = Autoencoder(Size())
    with Progress(disable=True) as progress:
        fitted = fit(made, learnt.train, Recipe(steps=80, batch=16), progress, "autoencoder")
    assert np.mean(fitted.losses[-10:]) < 0.7 * np.mean(fitted.losses[:10])
    made.fit_units(learnt.units)
    return made


def test_autoencoder_graph_is_the_net_and_int8_is_close_and_integer(learnt: Learnt, net: Autoencoder) -> None:
    plain = write(net, None).model().SerializeToString()
    integer = quantized(net, learnt.train.at(torch.arange(0, len(learnt.train), 10))).SerializeToString()
    windows = learnt.real["test"]
    offset, scale = (np.array([getattr(c, name) for c in CHANNELS]) for name in ("offset", "scale"))
    with torch.no_grad():
        window = torch.from_numpy(((windows.filled() - offset) / scale).astype(np.float32))
        expected = net(window, torch.from_numpy(windows.mask))[0].numpy()
    assert judged(plain, windows) == pytest.approx(expected, rel=2e-3, abs=1e-3)
    assert np.median(np.abs(judged(integer, windows) / expected - 1)) < 0.3
    counts = operators(integer)
    assert not FLOAT_WORK & set(counts)
    assert counts["QLinearConv"] == 7
    assert FLOAT_WORK & set(operators(plain))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mahalanobis", []),
        ("isolation-forest", ["trees=5"]),
        ("autoencoder", ["recipe={steps: 40, batch: 16}", "calibration=40"]),
    ],
)
def test_one_command_writes_a_reference_that_loads(
    folder: Path, learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, changes: list[str]
) -> None:
    plan = load_plan(name, [*changes, "fleet=null"])
    if name != "mahalanobis":  # reading is the same for all
        monkeypatch.setattr(plan.module, "read", lambda *_: learnt)
    out = tmp_path / name
    manifest: Manifest = plan.module.train(plan.config, folder, out, SILENT, False)
    assert manifest.name == name == str(plan.head.out.name)
    assert manifest.purpose == "reference"
    assert load_bundle(out).manifest == manifest
    verify(out)
    healthy_test, faulty = manifest.figures["car3_test_healthy"], manifest.figures["car2_late_faulty"]
    if name == "mahalanobis":  # five trees and forty steps know little
        assert faulty["median"] > 1.5 * healthy_test["median"]
    shelf = Shelf([tmp_path])
    shelf.refresh()
    assert shelf.bundles == {}
    monkeypatch.setattr(plan.module, "read", lambda *_: learnt)
    again = plan.module.train(plan.config, folder, tmp_path / "again", SILENT, False)
    assert again.sha256 == manifest.sha256  # seeded


def test_a_folder_without_vehicles_is_named(tmp_path: Path) -> None:
    plan = load_plan("mahalanobis")
    with pytest.raises(DataError, match=r"no \.parquet"):
        plan.module.train(plan.config, tmp_path, tmp_path / "out", SILENT, False)
