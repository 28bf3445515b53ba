"""From recordings to a bundle of packs, in small: what is learnt, what is written, and that it is the same again."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from services.inference.bundle import Manifest, load_bundle
from services.sensor.recorded import open_recording
from tests.training.synthetic import write_vehicles
from training.checkpoint import CheckpointError
from training.compress.bundle import FLOAT_WORK
from training.data.errors import DataError
from training.data.ev_fault import Vehicle, read_rows
from training.models.fit import Recipe
from training.trainers.pack import Config, FleetConfig, train

pytestmark = pytest.mark.training
RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
SMALL = Config(
    name="small",
    recipe=Recipe(steps=12, batch=8),
    aware=Recipe(steps=6, batch=8, learning_rate=1e-4),
    fleet=FleetConfig(vehicles=3, held_out=2, sessions=2),
    calibration=40,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vehicles(tmp_path_factory.mktemp("vehicles"))


def learn(folder: Path, out: Path, config: Config = SMALL) -> Manifest:
    return train(config, folder, out, Console(file=io.StringIO()), resume=False)


def test_real_and_simulated_vehicles_become_an_integer_bundle(folder: Path, tmp_path: Path) -> None:
    manifest = learn(folder, tmp_path / "one")
    assert load_bundle(tmp_path / "one").manifest == manifest
    assert set(manifest.training["windows"]) == {"car1", "car2", "car3", "simulated"}
    assert not FLOAT_WORK & set(manifest.figures["operators"])
    assert manifest.figures["int8_against_float"]["rank_correlation"] > 0.9
    assert manifest.figures["car2_late_faulty"]["windows"] > 0
    assert manifest.score.threshold > 0
    assert [path.name for path in sorted((tmp_path / "one").iterdir())] == ["manifest.json", "model.onnx"]
    assert learn(folder, tmp_path / "two").sha256 == manifest.sha256  # seeded


def test_a_training_that_was_killed_goes_on_to_the_same_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(folder, tmp_path / "whole")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.trainers.pack.integer_form", killed)  # between its two stages
        with pytest.raises(KeyboardInterrupt):
            learn(folder, tmp_path / "resumed")
    console = Console(file=io.StringIO())
    assert train(SMALL, folder, tmp_path / "resumed", console, resume=True).sha256 == whole.sha256
    other = SMALL.model_copy(update={"kl_weight": 0.5})
    with monkeypatch.context() as patch:
        patch.setattr("training.trainers.pack.integer_form", killed)
        with pytest.raises(KeyboardInterrupt):
            learn(folder, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"kl_weight was 0\.01, is 0\.5"):
        train(other, folder, tmp_path / "other", console, resume=True)


def test_the_reference_is_the_same_net_in_float(folder: Path, tmp_path: Path) -> None:
    plain = learn(folder, tmp_path / "plain", SMALL.model_copy(update={"form": "fp32"}))
    assert FLOAT_WORK & set(plain.figures["operators"])
    assert "int8_against_float" not in plain.figures
    integer = learn(folder, tmp_path / "integer")
    assert plain.figures["training_loss"] == integer.figures["training_loss"]
    assert plain.score.threshold == pytest.approx(integer.score.threshold, rel=0.2)


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}.*no \.parquet"):
        learn(tmp_path, tmp_path / "out")


def test_a_net_is_trained_on_what_the_sensor_will_say() -> None:
    recording = open_recording(RECORDINGS / "car2.parquet", None)
    _, channels, _ = read_rows(Vehicle("car2.parquet", 30.0), RECORDINGS)
    for chunk in recording.chunks():
        for row, (said, quality) in enumerate(chunk.rows, chunk.first):
            for name in ("voltage", "current", "cell_voltage_max", "cell_voltage_min", "temperature_max"):
                if name not in quality:
                    assert channels[name][row] == pytest.approx(said[name], abs=2e-3), (row, name)
