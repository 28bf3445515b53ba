"""Options are plain JSON, describe themselves, and do not jitter or lie."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.charts import BLUE, RED, Axis, Deviations, Limit, Series, axis_range, band_chart, cell_chart
from services.dashboard.charts import line_chart as chart
from services.dashboard.decimation import MAX_POINTS

numbers = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=50)


@given(numbers, st.floats(1e-3, 1e3))
def test_every_value_is_inside_its_axis_and_labels_are_round(values: list[float | None], least: float) -> None:
    lo, hi, step = axis_range(values, Axis(least))
    unseen = 1e-8 * step + 1e-6  # by less than that no eye and no screen tells a value from its axis' end
    assert all(lo - unseen <= v <= hi + unseen for v in values if v is not None)
    assert hi - lo >= least * 0.999
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-6
    assert abs(lo / step - round(lo / step)) < 1e-6
    assert abs(hi / step - round(hi / step)) < 1e-6


def test_noise_is_not_blown_up_and_bounds_hold() -> None:
    assert axis_range([352.0, 352.1], Axis(4.0))[:2] == (350.0, 355.0)
    assert axis_range([0.0, 1.0], Axis(50.0, low=0.0))[:2] == (0.0, 60.0)
    assert axis_range([99.9, 100.0], Axis(10.0, low=0.0, high=100.0))[:2] == (90.0, 100.0)
    assert axis_range([None], Axis(1.0))[:2] == (0.0, 1.0)


def test_a_line_is_decimated_breaks_at_gaps_and_is_described() -> None:
    times = [float(i) for i in range(5000)]
    series = Series("Voltage (V)", times, [352.0 + i % 7 for i in range(5000)], BLUE, 1)
    option = chart([series], [Axis(4.0)], "Voltage 352.0 V", span=(0.0, 5000.0))
    assert len(option["series"][0]["data"]) <= MAX_POINTS
    assert option["aria"]["label"]["description"] == "Voltage 352.0 V"
    assert option["animation"] is False
    assert option["useUTC"] is True
    assert (option["xAxis"]["min"], option["xAxis"]["max"]) == (0, 5_000_000)
    json.dumps(option, allow_nan=False)
    gap = chart([Series("V", [0.0, 1.0, 99.0], [1.0, 1.0, 2.0], BLUE, gap_s=5.0)], [Axis(1.0)], "")
    assert [99_000, 2.0] in gap["series"][0]["data"]
    assert None in [value for _, value in gap["series"][0]["data"]]


def test_a_limit_is_drawn_once_on_its_own_axis_and_is_in_sight() -> None:
    lines = [Series("a", [0.0], [30.0], RED), Series("b", [0.0], [29.0], BLUE), Series("c", [0.0], [1.0], BLUE, axis=1)]
    option = chart(lines, [Axis(5.0), Axis(1.0)], "", limits=[Limit("limit 60 °C", 60.0)])
    assert [("markLine" in line) for line in option["series"]] == [True, False, False]
    assert option["series"][0]["markLine"]["data"] == [{"yAxis": 60.0, "name": "limit 60 °C"}]
    assert option["yAxis"][0]["max"] >= 60.0
    assert option["yAxis"][1]["max"] < 60.0


def test_stale_lines_are_faint() -> None:
    series = [Series("a", [0.0], [30.0], RED)]
    assert chart(series, [Axis(1.0)], "")["series"][0]["lineStyle"]["opacity"] == 1.0
    assert chart(series, [Axis(1.0)], "", stale=True)["series"][0]["lineStyle"]["opacity"] < 0.5


def test_a_rollup_is_a_band_from_min_to_max_below_zero_too() -> None:
    columns = {"min": [-5.0, None], "max": [-1.0, None], "mean": [-3.0, None]}
    option = band_chart([0.0, 60.0], columns, BLUE, Axis(1.0), 1, "Current")
    low, height, mean = (line["data"] for line in option["series"])
    assert (low[0], height[0], mean[0]) == ([0, -5.0], [0, 4.0], [0, -3.0])
    assert [low[1][1], height[1][1], mean[1][1]] == [None, None, None]
    assert option["series"][0]["stackStrategy"] == "all"


def test_the_furthest_cell_is_found_and_named_counted_from_one() -> None:
    d = Deviations.of([3.700, 3.702, None, 3.640, 3.701])
    assert (d.worst, d.median_v) == (3, 3.7005)
    assert d.millivolts[3] == -60.5
    option = cell_chart([3.700, 3.702, None, 3.640, 3.701], "")
    marked = [bar for bar in option["series"][0]["data"] if "label" in bar]
    assert [bar["label"]["formatter"] for bar in marked] == ["cell 4"]
    assert option["series"][0]["data"][2]["value"] is None
    json.dumps(option, allow_nan=False)


def test_cells_without_any_reading_are_an_empty_chart() -> None:
    assert Deviations.of([None, None]) == Deviations([None, None], None, None)
    assert [bar["value"] for bar in cell_chart([None, None], "")["series"][0]["data"]] == [None, None]


def test_a_band_is_not_drawn_across_a_night_without_samples() -> None:
    columns = {key: [1.0] * 4 for key in ("min", "max", "mean")}
    option = band_chart([0.0, 60.0, 120.0, 50_000.0], columns, BLUE, Axis(1.0), 1, "")
    assert [[value is None for _, value in line["data"]] for line in option["series"]] == [
        [False] * 3 + [True, False]
    ] * 3
