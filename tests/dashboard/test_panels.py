"""Which charts a device gets, and that their words say what they draw."""

from collections.abc import Sequence

from services.bus.messages import Score, Window
from services.dashboard.history import Samples
from services.dashboard.panels import BATTERY, Panel, cell_panel, line_panels, other_plans, score_panel
from services.dashboard.past import past_scores, sample_panels
from services.dashboard.state import Point, ScorePoint
from tests.dashboard.conftest import BOOT, START, one_alarm


def points(count: int) -> list[Point]:
    return [Point(1000.0 + i, {"voltage": 350.0 + i, "current": -1.0, "cell_spread": 0.1}) for i in range(count)]


def by_key(panels: Sequence[Panel]) -> dict[str, Panel]:
    return {panel.key: panel for panel in panels}


def test_a_device_gets_the_charts_of_what_it_measures() -> None:
    panels = by_key(line_panels(BATTERY, points(10), 1.0, [], None))
    assert list(panels) == ["electric", "spread"]
    assert panels["electric"].summary == "Voltage 359.0 V (350.0 to 359.0) · Current -1.0 A (-1.0 to -1.0)"
    assert panels["spread"].summary == "Spread 100 mV (100 to 100)"
    assert line_panels(BATTERY, [], 1.0, [], None) == []


def test_the_window_is_of_recorded_time() -> None:
    panel = line_panels(BATTERY, points(1000), 1.0, [], 300.0)[0]
    assert panel.option["xAxis"]["max"] - panel.option["xAxis"]["min"] == 300_000
    assert "Voltage 1349.0 V (1049.0 to 1349.0)" in panel.summary


def test_the_limit_of_a_standing_alarm_is_drawn_in_the_charts_unit() -> None:
    spread = one_alarm(evidence={"channel": "cell_spread", "value": 0.16, "limit": 0.15, "unit": "V"})
    option = by_key(line_panels(BATTERY, points(10), 1.0, [spread], None))["spread"].option
    assert option["series"][0]["markLine"]["data"] == [{"yAxis": 150.0, "name": "limit 150 mV"}]
    rate = one_alarm(evidence={"channel": "cell_spread", "value": 3.0, "limit": 1.0, "unit": "V/s"})
    assert "markLine" not in by_key(line_panels(BATTERY, points(10), 1.0, [rate], None))["spread"].option["series"][0]


def test_another_profile_gets_a_chart_a_channel() -> None:
    panels = line_panels(other_plans({"co": "ppm"}), [Point(0.0, {"co": 3.0}), Point(1.0, {"co": None})], 1.0, [], None)
    assert [(p.title, p.summary) for p in panels] == [("Co", "co no reading now (3.0000 to 3.0000)")]


def test_cells_without_a_reading_are_counted() -> None:
    panel = cell_panel([3.70, 3.71, None, 3.60], stale=False)
    assert panel is not None
    assert panel.summary == "4 cells, median 3.700 V · furthest: cell 4, -100 mV · 1 without a reading"
    assert cell_panel([None, None], stale=False) is None


def test_a_score_is_told_with_its_threshold_and_its_main_channel() -> None:
    scored = [ScorePoint(float(i), 0.5 if i < 9 else 2.0, 1.0) for i in range(10)]
    window, shares = Window(boot=BOOT, first=0, last=9), {"voltage": 0.2, "temperature_max": 0.8}
    last = Score(
        boot=BOOT, seq=9, ts=START, mono=9.0, bundle="d@1", window=window, score=2.0, threshold=1.0, shares=shares
    )
    panel = score_panel("dyad-int8", scored, last)
    assert panel is not None
    assert panel.summary == "dyad-int8 2.00, threshold 1.00 · 1 of 10 beyond · mostly temperature max"
    assert [line["name"] for line in panel.option["series"]] == ["score", "threshold"]
    assert score_panel("dyad-int8", [], None) is None


def test_history_is_a_line_when_raw_and_a_band_when_rolled_up() -> None:
    raw = Samples(0, [0.0, 1.0], {"voltage": [350.0, None], "co": [1.0, 2.0]}, complete=True)
    assert [(p.key, len(p.option["series"])) for p in sample_panels(raw)] == [("voltage", 1), ("co", 1)]
    minutes = Samples(60, [0.0, 60.0], {"soc": {"min": [0.1, None], "max": [0.3, None], "mean": [0.2, None]}}, True)
    (panel,) = sample_panels(minutes)
    assert len(panel.option["series"]) == 3
    assert panel.summary.startswith("10.0 to 30.0 %")
    assert "per minute" in panel.summary
    assert sample_panels(Samples(0, [], {"voltage": []}, complete=True)) == []


def test_scores_of_two_models_are_two_charts() -> None:
    items = [{"model": m, "score": 0.5 * i, "threshold": 1.0} for i in range(4) for m in ("a", "b")]
    panels = past_scores(items, [float(i) for i in range(8)])
    assert [p.summary for p in panels] == [f"{m}: 4 windows, 1 beyond the threshold, highest 1.50." for m in ("a", "b")]
