"""Devices through bundles: layouts, quality, restarts, what a score says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.bus.counters import Counters
from services.bus.messages import Layout, Sample, Score
from services.bus.profiles import load_profile
from services.bus.topics import Topic
from services.inference.bundle import Bundle, load_bundle
from services.inference.channels import ChannelReader
from services.inference.judge import Judge
from services.inference.phase import Cell
from services.inference.pipeline import Pipeline
from tests.inference.small_bundle import STRIDE, WINDOW, model, write_bundle

BOOT = "00112233aabbccdd"
STREAM = Topic("pi", "pack-1", "telemetry", "battery")
START = datetime(2021, 5, 5, tzinfo=UTC)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(write_bundle(tmp_path))


@pytest.fixture
def layout() -> Layout:
    return load_profile("battery").layout({"voltage": None, "current": None, "cell_voltages": 3}, 10.0)


def sample(seq: int, layout: Layout, boot: str = BOOT, **changes: Any) -> Sample:
    channels = {"voltage": 12.0, "current": 1.0, "cell_voltages": [3.9, 4.0, 4.1]}
    fields: dict[str, Any] = {
        "boot": boot,
        "seq": seq,
        "ts": START + timedelta(seconds=10 * seq),
        "mono": 10.0 * seq,
        "layout": layout.hash,
        "channels": channels,
    }
    return Sample(**(fields | changes))


class Node:
    """A judge with a memory that survives it."""

    def __init__(self, bundle: Bundle, layout: Layout | None) -> None:
        self.memory: dict[str, dict[str, Any]] = {}
        self.counters = Counters()
        self.cells: dict[str, Cell] = {}
        self.bundle, self._layout = bundle, layout
        self.start()

    def start(self) -> None:
        self.judge = Judge(self.counters, self.memory.__setitem__, self.memory.get, self.cells, clock=lambda: 50.0)
        self.judge.use({"small": self.bundle})
        if self._layout is not None:
            assert list(self.judge.layout(Topic("pi", "pack-1", "layout", "battery"), self._layout)) == []

    def feed(self, samples: Iterator[Sample] | list[Sample]) -> list[dict[str, Any]]:
        return [fields for s in samples for _, fields in self.judge.sample(STREAM, s)]


def test_score_is_a_valid_message(bundle: Bundle, layout: Layout) -> None:
    node = Node(bundle, layout)
    found = [
        scored for seq in range(WINDOW + 1) for scored in node.judge.sample(STREAM, sample(seq, layout, sent=49.5))
    ]
    ((topic, fields),) = found
    assert str(topic) == "emberwatch/v1/pi/pack-1/score/small"
    score = Score.model_validate({"boot": BOOT, "seq": 0} | fields)
    assert score.bundle == bundle.manifest.id
    assert (score.window.first, score.window.last, score.window.holes) == (0, WINDOW - 1, 0)
    assert score.ts == START + timedelta(seconds=10 * (WINDOW - 1))
    assert score.score == pytest.approx(2.0)
    assert score.latency_ms == pytest.approx(500.0)
    assert sum(score.shares.values()) == pytest.approx(1.0)
    assert node.judge.positions["pi/pack-1/telemetry.battery"].seq == WINDOW


def test_samples_wait_for_their_layout(bundle: Bundle, layout: Layout) -> None:
    node = Node(bundle, None)
    assert node.feed([sample(seq, layout) for seq in range(WINDOW + 1)]) == []
    assert node.judge.hold_back({str(STREAM): [BOOT, 99]}) == {str(STREAM): [BOOT, 0]}
    scored = list(node.judge.layout(Topic("pi", "pack-1", "layout", "battery"), layout))
    assert len(scored) == 1


def cell_bundle(folder: Path) -> Bundle:
    """The small bundle with a column of a phase instead of the counted charge, for one cell."""
    channels = [
        {"name": "current", "role": "input", "offset": 0.0, "scale": 1.0},
        {"name": "phase_charge", "derived": "phase_charge", "role": "input", "offset": 0.0, "scale": 1.0},
        {"name": "phase", "derived": "phase", "role": "input", "offset": 0.0, "scale": 1.0},
        {"name": "voltage", "role": "response", "offset": 3.0, "scale": 0.5, "charge_range": [2.0, 4.5]},
    ]
    return load_bundle(write_bundle(folder, model(channels=4, responses=1), channels=channels))


def test_a_bundle_for_a_cell_judges_the_cells_of_the_settings_alone(tmp_path: Path) -> None:
    layout = load_profile("battery").layout({"voltage": None, "current": None}, 10.0)
    node = Node(cell_bundle(tmp_path / "cell"), layout)
    samples = [sample(seq, layout, channels={"voltage": 3.7, "current": 1.0}) for seq in range(WINDOW + 1)]
    assert node.feed(samples) == []
    assert node.counters["not_judged"] == 0  # quietly: it is no fault of the device
    node.cells = {"pack-1": Cell(capacity_ah=3.0, chemistry="nmc811")}
    node.start()
    assert [fields["window"]["first"] for fields in node.feed(samples)] == [0]
    node.memory.clear()
    node.start()
    strange = [sample(seq, layout, channels={"voltage": 1.9, "current": 1.0}) for seq in range(WINDOW + 1)]
    assert node.feed(strange) == []
    assert node.counters["out_of_domain"] == 1


def test_a_bundle_for_a_cell_does_not_judge_a_pack(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(ValueError, match="a pack of several cells"):
        Pipeline(cell_bundle(tmp_path / "cell"), layout, BOOT, Cell(capacity_ah=3.0, chemistry="nmc811"))


def test_windows_never_span_a_boot(bundle: Bundle, layout: Layout) -> None:
    node = Node(bundle, layout)
    other = "ffee2233aabbccdd"
    assert node.feed([sample(seq, layout) for seq in range(WINDOW)]) == []
    assert node.feed([sample(seq, layout, other) for seq in range(WINDOW)]) == []
    assert len(node.feed([sample(WINDOW, layout, other)])) == 1


@pytest.mark.parametrize("kill", range(WINDOW, 30))
def test_restart_repeats_no_score_and_loses_none(bundle: Bundle, layout: Layout, kill: int) -> None:
    samples = [sample(seq, layout) for seq in range(40)]
    expected = Node(bundle, layout).feed(samples)
    node = Node(bundle, layout)
    got = node.feed(samples[:kill])
    node.start()
    needed = node.judge.needed(STREAM, {"small": bundle}) or (BOOT, 0)  # nothing scored yet: from the beginning
    assert needed[0] == BOOT
    assert needed[1] >= kill - WINDOW - STRIDE
    got += node.feed(samples[max(0, needed[1] - 1) :])  # one more than needed does no harm
    assert [f["window"] | {"score": f["score"]} for f in got] == [f["window"] | {"score": f["score"]} for f in expected]


def test_device_that_cannot_be_judged_is_counted_once(bundle: Bundle) -> None:
    bare = load_profile("battery").layout({"voltage": None, "current": None}, 10.0)
    slow = load_profile("battery").layout({"voltage": None, "current": None, "cell_voltages": 3}, 600.0)
    for layout in (bare, slow):
        node = Node(bundle, layout)
        assert node.feed([sample(seq, layout, channels={"voltage": 3.0, "current": 1.0}) for seq in range(20)]) == []
        assert node.counters["not_judged"] == 1


def test_changed_bundle_begins_new_windows(bundle: Bundle, layout: Layout, tmp_path: Path) -> None:
    node = Node(bundle, layout)
    node.feed([sample(seq, layout) for seq in range(WINDOW)])
    successor = load_bundle(write_bundle(tmp_path / "next", version="2.0.0"))
    node.judge.use({"small": successor})
    assert node.feed([sample(seq, layout) for seq in range(WINDOW, 2 * WINDOW)]) == []
    (score,) = node.feed([sample(2 * WINDOW, layout)])
    assert score["bundle"] == successor.manifest.id


def test_values_of_bad_quality_are_holes(bundle: Bundle, layout: Layout) -> None:
    reader = ChannelReader(bundle.manifest.channels, layout)
    good: dict[str, Any] = {"voltage": 12.0, "current": 1.0, "cell_voltages": [3.9, 4.0, 4.1]}
    assert reader.read(good, {}) == [1.0, None, pytest.approx(4.0), pytest.approx(4.0)]
    assert reader.read(good, {"voltage": "fault:crc", "current": "suspect"})[:3] == [1.0, None, None]
    assert reader.read(good, {"cell_voltages[2]": "range"})[3] == pytest.approx(3.95)
    assert reader.read(good | {"cell_voltages": [None, None, 4.1]}, {})[3] is None
    assert reader.read(good | {"cell_voltages": [4.0]}, {})[3] is None
    assert reader.read({}, {}) == [None] * 4
