"""A training that is killed goes on to the same result, or says why it cannot."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training import tiny_training
from training.checkpoint import Checkpoint, CheckpointError, replace_whole

pytestmark = pytest.mark.training
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, "-m", "tests.training.tiny_training"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_until(step: int, checkpoint: Path, result: Path) -> int:
    """Run the training and kill -9 it after it was let go on from `step`; return the first step that it made."""
    command = [*SCRIPT, str(checkpoint), str(result)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=ONE_THREAD) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = line = process.stdout.readline()
        while line != f"step {step}\n":
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        process.kill()  # it is making the next step, or saving
    assert process.returncode == -signal.SIGKILL
    return int(first.split()[1])


def same(a: Path, b: Path) -> bool:
    (losses, weights), (other_losses, other_weights) = (torch.load(path, weights_only=True) for path in (a, b))
    return losses == other_losses and all(torch.equal(weights[name], other_weights[name]) for name in weights)


def test_killed_twice_it_resumes_to_the_same_result(tmp_path: Path) -> None:
    killed, whole, checkpoint = tmp_path / "killed.pt", tmp_path / "whole.pt", tmp_path / "checkpoint.pt"
    assert run_until(13, checkpoint, killed) == 0
    assert not killed.exists()
    steps: list[int] = []

    def killed_again(step: int) -> None:
        steps.append(step)
        if step == 32:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        tiny_training.train(checkpoint, killed, killed_again)
    assert steps[0] in (10, 15)  # step 14 saves: killed before or after that
    tiny_training.train(checkpoint, killed, steps.append)
    tiny_training.train(tmp_path / "other.pt", whole, lambda step: None)
    torch.set_num_threads(threads)
    assert steps[steps.index(32) + 1] == 30
    assert same(killed, whole)


def test_killed_while_saving_it_keeps_the_save_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def dies(unfinished: Path) -> None:
        unfinished.write_text("half a fi")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_whole(path, dies)
    assert path.read_text() == "before"
    replace_whole(path, lambda unfinished: unfinished.write_text("after"))
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def small(path: Path, recipe: dict[str, object], width: int = 2) -> Checkpoint:
    return Checkpoint(path, recipe, {"net": torch.nn.Linear(width, 1)}, [torch.Generator()])


def test_without_a_file_it_begins(tmp_path: Path) -> None:
    checkpoint = small(tmp_path / "no.pt", {})
    assert checkpoint.resume() == []
    assert checkpoint.step == 0


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"fit": {"rate": 0.2, "seed": 1}}, r"rate was 0\.1, is 0\.2"),
        ({"fit": {"rate": 0.1}}, "seed was 1, is None"),
        ({}, "fit was .*, is None"),
    ],
)
def test_of_another_recipe_it_says_which_key(tmp_path: Path, recipe: dict[str, object], reason: str) -> None:
    path = tmp_path / "a.pt"
    small(path, {"fit": {"rate": 0.1, "seed": 1}}).save()
    with pytest.raises(CheckpointError, match=reason) as refused:
        small(path, recipe).resume()
    assert refused.value.path == path


def test_on_another_number_of_threads_it_says_so(tmp_path: Path) -> None:
    path, threads = tmp_path / "a.pt", torch.get_num_threads()
    small(path, {}).save()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(CheckpointError, match=f"threads was {threads}, is {threads + 1}"):
            small(path, {}).resume()
    finally:
        torch.set_num_threads(threads)


def test_of_another_shape_or_damaged_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    small(path, {}).save()
    with pytest.raises(CheckpointError, match="does not fit"):
        small(path, {}, width=3).resume()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="unreadable"):
        small(path, {}).resume()


def test_what_was_recorded_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint = small(path, {})
    checkpoint.after(6, {"losses": [1.5]})
    assert not path.exists()  # not yet due
    checkpoint.save({"losses": [1.5]})
    again = small(path, {})
    assert again.resume() == {"losses": [1.5]}
    assert again.step == 7
