"""The published nets in ONNX: the numbers of torch."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from services.inference.bundle import open_session
from training.compress.bundle import operators
from training.compress.dyad_graph import write
from training.models.dyad import Dyad, Loss, Shape

pytestmark = pytest.mark.training
RESPONSES = ("temperature_max", "cell_voltage_max", "voltage")


@pytest.mark.parametrize(
    ("rnn", "layers", "huber"), [("gru", 1, True), ("gru", 2, False), ("lstm", 1, True), ("lstm", 2, True)]
)
def test_graph_is_the_net(rnn: Literal["gru", "lstm"], layers: int, huber: bool) -> None:
    torch.manual_seed(1)
    net = Dyad(Shape(responses=RESPONSES, rnn=rnn, layers=layers, hidden=6, latent=3), Loss(), huber).eval()
    window, mask = torch.randn(4, 16, 5) * 2, (torch.rand(4, 16, 5) > 0.2).float()
    model = write(net, 16).model().SerializeToString()
    session = open_session(model, Path("test"))
    with torch.no_grad():
        expected = net(window, mask)
    for i in range(4):
        feed = {"window": window[i : i + 1].numpy(), "mask": mask[i : i + 1].numpy()}
        score, contributions = session.run(["score", "contributions"], feed)
        assert score == pytest.approx(expected[0][i : i + 1].numpy(), rel=1e-4, abs=1e-6)
        assert contributions == pytest.approx(expected[1][i : i + 1].numpy(), rel=1e-4, abs=1e-6)
    assert operators(model)[rnn.upper()] == 2 * layers
    assert np.isfinite(expected[0].numpy()).all()
