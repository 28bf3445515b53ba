"""The student as ONNX: float is torch, INT8 is integer, small and near."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from services.inference.bundle import open_session
from training.compress.bundle import FLOAT_WORK, operators
from training.compress.qat import rounded
from training.compress.student_graph import GIVEN, MADE, WEIGHT_MAX, feeds, quantized, ranges_of, write
from training.data.windows import Windows
from training.models.conv import ConvDyad
from training.models.fit import judge
from training.models.pack import CHANNELS
from training.models.snippets import Snippets
from training.packs import snippets

pytestmark = pytest.mark.training
BYTES_MAX = 30_720  # 30 KiB
CONVOLUTIONS = 14


def scores(model: onnx.ModelProto, data: Snippets) -> NDArray[np.float64]:
    session = open_session(model.SerializeToString(), Path("test"))
    return np.array([session.run(["score"], feed)[0][0] for feed in feeds(data)])


@pytest.fixture(scope="module")
def data(fleet: Windows) -> Snippets:
    return snippets(fleet, CHANNELS)


def test_float_graph_is_the_net(student: ConvDyad, data: Snippets) -> None:
    data.mask[:20, 30:40, 3:6] = 0
    expected, contributions = judge(student, data)
    model = write(student, None).model()
    assert scores(model, data) == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4)
    session = open_session(model.SerializeToString(), Path("test"))
    found = [session.run(["contributions"], feed)[0][0] for feed in feeds(data)]
    assert np.array(found) == pytest.approx(contributions.numpy(), rel=1e-2, abs=1e-3)


def test_int8_is_integer_small_and_near(student: ConvDyad, data: Snippets, learnt_fleet: Windows) -> None:
    integer = quantized(student, snippets(learnt_fleet, CHANNELS))
    content = integer.SerializeToString()
    assert len(content) <= BYTES_MAX
    counts = operators(content)
    assert not FLOAT_WORK & set(counts)
    assert counts["QLinearConv"] == CONVOLUTIONS
    assert "Pad" not in counts
    plain = write(student, None).model()
    assert FLOAT_WORK & set(operators(plain.SerializeToString()))  # the count does see float convolutions
    one, other = scores(integer, data), scores(plain, data)
    assert np.median(np.abs(one / other - 1)) < 0.05
    assert np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1] > 0.98


def test_torch_with_roundings_is_the_int8_graph(student: ConvDyad, data: Snippets, learnt_fleet: Windows) -> None:
    """What is trained with is what ships."""
    ranges = ranges_of(student, snippets(learnt_fleet, CHANNELS))
    with rounded(student, GIVEN, MADE, ranges, WEIGHT_MAX):
        expected, _ = judge(student, data)
    difference = np.abs(scores(write(student, ranges).model(), data) / expected.numpy() - 1)
    assert np.median(difference) < 5e-3
    assert (
        np.quantile(difference, 0.95) < 0.1
    )  # ties of rounding fall otherwise, and grow where a faulty cell is far outside


def test_a_fault_beyond_every_range_is_not_cut_down(student: ConvDyad, data: Snippets, learnt_fleet: Windows) -> None:
    """The error is taken in float, from responses that no INT8 grid has cut."""
    integer = quantized(student, snippets(learnt_fleet, CHANNELS))
    strange = data.window.clone()
    strange[..., 5] -= 100.0  # the lowest cell lost 1 V
    worse = strange.clone()
    worse[..., 5] -= 100.0
    one, two = (scores(integer, Snippets(w, data.mask, data.weight, data.mileage)) for w in (strange, worse))
    assert np.median(one) > 10 * np.median(scores(integer, data))
    assert (two > 1.5 * one).all()
