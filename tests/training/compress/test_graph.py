"""Graphs by hand: float equals torch, integer is integer and near."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from services.inference.bundle import open_session
from training.compress.bundle import FLOAT_WORK, operators
from training.compress.calibrate import Ranges, observe
from training.compress.graph import Graph, Grid

pytestmark = pytest.mark.training


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Conv1d(3, 8, 3, padding=4, dilation=4)
        self.two = torch.nn.Conv1d(8, 8, 5, stride=2, padding=2)
        self.told = torch.nn.Conv1d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.one(x).relu()
        told: torch.Tensor = self.told(h.mean(2, keepdim=True))
        scaled: torch.Tensor = (h * told + h).relu()
        result: torch.Tensor = self.two(torch.cat([scaled, scaled], 2))
        return result


def written(net: Net, ranges: Ranges | None) -> Graph:
    graph = Graph(ranges)
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    x = graph.quantize("x", graph.input("x", [1, 3, 32]))
    h = graph.conv("h", x, weights["one.weight"], weights["one.bias"], pads=(4, 4), dilation=4, relu=True)
    mean = graph.quantize("mean", graph.node("ReduceMean", h, axes=[2], keepdims=1))
    told = graph.conv("told", mean, weights["told.weight"], weights["told.bias"])
    scaled = graph.add("scaled", graph.multiply("product", h, told), h, relu=True)
    both = graph.concat("both", scaled, scaled, axis=2)
    y = graph.conv("y", both, weights["two.weight"], weights["two.bias"], pads=(2, 2), stride=2)
    graph.output("y_out", y, [1, 8, 32])
    return graph


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = open_session(model.SerializeToString(), Path("test"))
    result: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return result


@pytest.fixture
def windows() -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(20, 1, 3, 32)).astype(np.float32)


def test_float_graph_is_the_net_and_integer_graph_is_near_it(windows: NDArray[np.float32]) -> None:
    torch.manual_seed(2)
    net = Net()
    plain = written(net, None)
    ranges = observe(plain.model(), plain.observed, ({"x": x} for x in windows))
    integer = written(net, ranges)
    assert list(integer.observed) == list(plain.observed)
    with torch.no_grad():
        expected = np.stack([net(torch.from_numpy(x)).numpy() for x in windows])
    got = np.stack([run(plain.model(), x) for x in windows])
    assert got == pytest.approx(expected, abs=1e-5)
    near = np.stack([run(integer.model(), x) for x in windows])
    assert 0 < np.abs(near - expected).max() < 0.08 * np.abs(expected).max()
    counts = operators(integer.model().SerializeToString())
    assert not FLOAT_WORK & set(counts)
    assert counts["QLinearConv"] == 3
    assert FLOAT_WORK & set(operators(plain.model().SerializeToString()))


def test_observed_range_may_leave_out_strange_runs(windows: NDArray[np.float32]) -> None:
    windows[0] *= 100
    graph = written(Net(), None)
    low, high = observe(graph.model(), {"x": "x"}, ({"x": x} for x in windows), share=0.9)["x"]
    assert -6 < low < 0 < high < 6
    assert observe(graph.model(), {"x": "x"}, ({"x": x} for x in windows))["x"][1] > 100


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (2.0, 5.0), (-4.0, -1.0), (0.0, 0.0)])
def test_every_grid_holds_zero_and_its_range(low: float, high: float) -> None:
    grid = Grid.over(low, high)
    assert 0 <= grid.zero <= 255
    assert grid.scale * (255 - grid.zero) >= high - grid.scale
    assert -grid.scale * grid.zero <= low + grid.scale


def test_float_tensor_is_refused_where_an_integer_is_needed() -> None:
    graph = Graph({"h": (0.0, 1.0)})
    with pytest.raises(ValueError, match="h: its input is not quantized"):
        graph.conv("h", graph.input("x", [1, 1, 4]), np.ones((1, 1, 1), np.float32), np.zeros(1, np.float32))
