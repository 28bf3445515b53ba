"""From recordings to a bundle, in small: what is learnt, what is exported, what INT8 changes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import load_bundle
from services.sensor.recorded import open_recording
from tests.training.synthetic import write_vehicles
from training.data.ev_fault import Vehicle, read_rows
from training.dyad import CHANNELS, ConvDyad, GruDyad
from training.export import FLOAT_WORK, export_float, operators, quantize
from training.fit import Recipe, Tensors, fit, tensors
from training.train import balanced_quantile, score, train
from training.vehicles import WindowSet, WindowShape, cut

pytestmark = pytest.mark.training
RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
SHORT = Recipe(steps=80, batch=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vehicles(tmp_path_factory.mktemp("vehicles"))


@pytest.fixture(scope="module")
def sets(folder: Path) -> list[WindowSet]:
    return [part for name in ("car1", "car2", "car3") for part in cut(folder, name, CHANNELS, WindowShape())]


def part_of(sets: list[WindowSet], part: str) -> Tensors:
    return tensors([s for s in sets if s.part == part])


@pytest.fixture(scope="module")
def student(sets: list[WindowSet]) -> ConvDyad:
    torch.manual_seed(1)
    net = ConvDyad()
    with Progress(disable=True) as progress:
        losses = fit(net, part_of(sets, "train"), SHORT, progress, "student")
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    with torch.no_grad():
        net.fit_sigma(part_of(sets, "threshold").window, part_of(sets, "threshold").mask)
    return net


def test_windows_are_cut_in_order_of_time_and_do_not_overlap_between_parts(sets: list[WindowSet]) -> None:
    for name in ("car1", "car2", "car3"):
        parts = {s.part: s for s in sets if s.vehicle == name}
        assert all(len(parts[part]) for part in ("train", "threshold", "test"))
        length = np.timedelta64(128 * 10, "s")
        assert parts["train"].start.max() + length <= parts["threshold"].start.min() + np.timedelta64(30, "s")
        assert parts["threshold"].start.max() + length <= parts["test"].start.min() + np.timedelta64(30, "s")
    assert all(np.isfinite(s.values).all() for s in sets)


def test_windows_with_a_warning_are_not_healthy(sets: list[WindowSet]) -> None:
    part = sets[0]
    warned = np.zeros(len(part), dtype=bool)
    warned[0] = True
    marked = WindowSet(part.vehicle, part.part, part.values, part.mask, part.start, warned)
    assert len(marked.healthy()) == len(part) - 1


def test_a_wide_spread_scores_far_above_healthy_windows(sets: list[WindowSet], student: ConvDyad) -> None:
    with torch.no_grad():
        test, late = part_of(sets, "test"), part_of(sets, "late")
        healthy, _ = student(test.window, test.mask)
        wide, _ = student(late.window, late.mask)
    assert wide.median() > 2 * healthy.quantile(0.9)


def test_masked_values_do_not_count(student: ConvDyad, sets: list[WindowSet]) -> None:
    data = part_of(sets, "test")
    mask = data.mask.clone()
    mask[:, :, 2:] = 0.0
    with torch.no_grad():
        assert student(data.window, mask)[0].abs().max() == 0


def test_graph_is_the_net_and_int8_is_close_and_integer(
    sets: list[WindowSet], student: ConvDyad, tmp_path: Path
) -> None:
    plain, integer = tmp_path / "plain.onnx", tmp_path / "integer.onnx"
    learnt, test = part_of(sets, "train"), part_of(sets, "test")
    export_float(student, plain, 128)
    quantize(plain, integer, learnt.window[::4], learnt.mask[::4])
    with torch.no_grad():
        expected = student(test.window, test.mask)[0].numpy()
    assert score(plain, test) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert np.median(np.abs(score(integer, test) / score(plain, test) - 1)) < 0.5
    assert np.median(score(integer, part_of(sets, "late"))) > 3 * np.quantile(score(integer, test), 0.9)
    counts = operators(integer.read_bytes())
    assert not FLOAT_WORK & set(counts)
    assert counts["QLinearConv"] == 13
    assert integer.stat().st_size < 60_000
    assert FLOAT_WORK & set(operators(plain.read_bytes()))  # the count does see float convolutions


def test_one_command_writes_a_bundle_that_loads(folder: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    manifest = train(folder, tmp_path / "bundle", Recipe(steps=10, batch=8), console)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest == manifest
    assert manifest.score.threshold > 0
    assert manifest.figures["car2_drifted_from_july"]["windows"] > 0
    again = train(folder, tmp_path / "again", Recipe(steps=10, batch=8), console)
    assert again.sha256 == manifest.sha256  # seeded


def test_teacher_teaches(sets: list[WindowSet]) -> None:
    data = part_of(sets, "train")
    with Progress(disable=True) as progress:
        teacher = GruDyad(hidden=8)
        assert np.isfinite(fit(teacher, data, Recipe(steps=3, batch=4), progress, "teacher")).all()
        student = ConvDyad()
        losses = fit(student, data, Recipe(steps=20, batch=8), progress, "student", teacher)
    assert losses[-1] < losses[0]


def test_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"car1\.parquet"):
        train(tmp_path, tmp_path / "out", SHORT, Console(file=io.StringIO()))


def test_quantile_weighs_vehicles_alike() -> None:
    assert balanced_quantile([np.arange(100.0), np.array([1000.0])], 0.5) == 99.0
    assert balanced_quantile([np.arange(100.0), np.array([1000.0])], 0.25) == pytest.approx(49, abs=1)


def test_a_net_is_trained_on_what_the_sensor_will_say() -> None:
    recording = open_recording(RECORDINGS / "car2.parquet", None)
    _, channels, _ = read_rows(Vehicle("car2.parquet", 30.0), RECORDINGS)
    for chunk in recording.chunks():
        for row, (said, quality) in enumerate(chunk.rows, chunk.first):
            for name in ("voltage", "current", "cell_voltage_max", "cell_voltage_min", "temperature_max"):
                if name not in quality:
                    assert channels[name][row] == pytest.approx(said[name], abs=2e-3), (row, name)
