"""Windows are the service's; a snippet is a window as it stands."""

from dataclasses import replace

import numpy as np
import pytest

from services.bus.profiles import load_profile
from services.inference.channels import ChannelSpec
from services.inference.reduce import Reducer
from services.inference.window import Windows as Assembler
from training.data.cut import WindowShape, cut, rows_as_steps
from training.data.errors import DataError
from training.data.runs import Run

SPECS = (
    ChannelSpec(name="current", role="input", offset=0, scale=1),
    ChannelSpec(name="charge", role="input", derived="charge", offset=0, scale=1),
    ChannelSpec(name="voltage", role="response", per="cell_voltages", offset=0, scale=1),
    ChannelSpec(name="cell_voltages", role="response", across="mean", offset=0, scale=1),
)
SHAPE = WindowShape(step_s=2.0, window=8, stride=4, hole_max=3, holes_max=4)


def run(rows: int = 60) -> Run:
    draw = np.random.default_rng(0)
    cells = draw.uniform(3.6, 3.8, (rows, 3)).astype(np.float32)
    current = draw.normal(10, 1, rows).astype(np.float32)
    current[11:14] = np.nan  # one whole step and its neighbours' halves
    time = 1e9 + np.arange(rows, dtype=np.float64)
    channels = {"voltage": cells.sum(axis=1), "current": current, "cell_voltages": cells}
    return Run("s", "g", "u", 1, time, channels, fault="f", size=3.0)


def test_windows_are_what_the_service_would_judge() -> None:
    given = run()
    windows = cut(given, SPECS, SHAPE)
    layout = load_profile("battery").layout({"voltage": None, "current": None, "cell_voltages": 3}, 1.0)
    reducer, assembler = Reducer(SPECS, 2.0, layout.period_s, 3), Assembler(8, 4, 4)
    expected = []
    for seq in range(len(given)):
        current, cells = given.channels["current"][seq], given.channels["cell_voltages"][seq]
        row = [None if np.isnan(current) else float(current), None, float(cells.sum() / 3), float(cells.mean())]
        expected += [w for step in reducer.add(seq, float(seq), row) if (w := assembler.add(step))]
    assert len(windows) == len(expected) > 3
    values = np.stack([np.where(w.mask > 0, w.values, np.nan) for w in expected])
    assert windows.values == pytest.approx(values, nan_ok=True, abs=1e-4)
    assert np.isnan(windows.values[:, :, 0]).any()
    assert windows.start_s.tolist() == [given.time_s[w.first] for w in expected]
    assert windows.columns == ("current", "charge", "voltage", "cell_voltages")
    assert (windows.label[0], windows.fault[0], windows.size[0], windows.group[0]) == (1, "f", 3.0, "g")


def test_windows_with_a_doubtful_row_have_no_label() -> None:
    doubtful = np.zeros(60, dtype=bool)
    doubtful[30] = True
    windows = cut(replace(run(), doubtful=doubtful), SPECS, SHAPE)
    covers = [start <= 1e9 + 30 < start + 16 for start in windows.start_s]
    assert any(covers)
    assert windows.label.tolist() == [-1 if covered else 1 for covered in covers]


def test_a_run_too_short_gives_no_window_and_one_without_a_channel_is_named() -> None:
    assert len(cut(run(10), SPECS, SHAPE)) == 0
    lacking = replace(run(), channels={"voltage": run().channels["voltage"]})
    with pytest.raises(DataError, match="s u: channels: the device does not measure current"):
        cut(lacking, SPECS, SHAPE)


def test_a_snippet_is_a_window_as_it_stands() -> None:
    given = run(12)
    windows = rows_as_steps([given, replace(given, unit="v", label=0)], ["current", "charge", "voltage"])
    assert windows.values.shape == (2, 12, 3)
    assert windows.values[0, :, 0] == pytest.approx(given.channels["current"], nan_ok=True)
    held = np.nan_to_num(given.channels["current"], nan=float(given.channels["current"][10]))
    assert windows.values[0, -1, 1] == pytest.approx(held[:-1].sum() / 3600, rel=1e-5)
    assert windows.unit.tolist() == ["u", "v"]
    assert windows.label.tolist() == [1, 0]


def test_snippets_that_differ_are_named() -> None:
    with pytest.raises(DataError, match="ragged: 13 rows, the first has 12"):
        rows_as_steps([run(12), run(13)], ["current"])
    with pytest.raises(DataError, match="channels: soc is not measured"):
        rows_as_steps([run(12)], ["soc"])
    with pytest.raises(DataError, match="there is no set"):
        rows_as_steps([], ["soc"])
