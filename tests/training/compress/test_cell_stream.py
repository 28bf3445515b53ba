"""The cell's net step by step: the same answer as over the window, in float and to the last bit in INT8."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.inference.bundle import open_session
from training.compress.bundle import FLOAT_WORK, operators
from training.compress.calibrate import Ranges, observe
from training.compress.cell_stream import beginning, next_state, streamed, windowed
from training.models.cell import COLUMNS, Net

pytestmark = pytest.mark.training
STEPS = 40


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(3)
    return Net(width=8, dilations=(1, 2, 4)).eval()


@pytest.fixture(scope="module")
def window() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(1, STEPS, len(COLUMNS))).astype(np.float32)


@pytest.fixture(scope="module")
def ranges(net: Net, window: NDArray[np.float32]) -> Ranges:
    plain = windowed(net, STEPS)
    return observe(plain.model(), plain.observed, [{"window": window}])


@pytest.mark.parametrize("integer", [False, True])
def test_step_by_step_is_the_window(net: Net, window: NDArray[np.float32], ranges: Ranges, integer: bool) -> None:
    given = ranges if integer else None
    whole = windowed(net, STEPS, given).model().SerializeToString()
    expected = open_session(whole, Path("window")).run(["mean", "log_inverse"], {"window": window})
    model = streamed(net, given).model()
    session = open_session(model.SerializeToString(), Path("stream"))
    state, answers = beginning(net, given), []
    for step in range(STEPS):
        made: list[NDArray[Any]] = session.run(None, {"window": window[:, step : step + 1], **state})
        state = next_state(model, made)
        answers.append([value for value in made if value.shape == (1, 1, 1)])
    found = [np.concatenate(part, axis=2) for part in zip(*answers, strict=True)]
    pairs = zip(found, expected, strict=True)
    assert all(np.array_equal(one, other) if integer else np.allclose(one, other, atol=1e-5) for one, other in pairs)
    if integer:
        assert not FLOAT_WORK & set(operators(model.SerializeToString()))
