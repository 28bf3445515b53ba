"""Data -> ECharts option dictionaries. Pure: JSON-able values only, no JavaScript.

Every chart carries a description in words (`aria`), since a canvas says nothing to a screen reader. Times are ms since
1970 and shown in UTC. Axes snap to round numbers, so that a live chart does not jitter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from services.dashboard.decimation import Value, decimate, usual_gap_s, with_gaps

BLUE, ORANGE, RED, TEAL, VIOLET, GREEN = "#3b82f6", "#f08c2e", "#e5484d", "#12a5b8", "#8b6cf0", "#2fa36b"
MUTED: Final = "#8a93a3"  # readable on white and on black
_GRID: Final = "rgba(138,147,163,0.22)"
_FONT: Final = {"color": MUTED, "fontSize": 11}
_TIMES: Final = {  # without it ECharts sets the first label of an hour or a minute in bold black
    "year": "{yyyy}",
    "month": "{yyyy}-{MM}",
    "day": "{MM}-{dd}",
    "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
    "second": "{HH}:{mm}:{ss}",
    "millisecond": "{HH}:{mm}:{ss}",
    "none": "{HH}:{mm}:{ss}",
}
SPARSE: Final = 60  # with fewer points they are marked


@dataclass(frozen=True, slots=True)
class Series:
    """One line; `times` in s since 1970. `gap_s`: the line breaks over a longer pause [s]."""

    name: str
    times: Sequence[float]
    values: Sequence[Value]
    color: str
    digits: int = 3
    axis: int = 0
    area: bool = False
    dashed: bool = False
    gap_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Axis:
    """One value axis. `least_span`: a range never shown narrower, so that noise looks like noise."""

    least_span: float
    low: float | None = None  # bounds that the axis never leaves
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A horizontal line that says from where on it is an alarm."""

    name: str
    value: float
    axis: int = 0


def nice_step(span: float, ticks: int = 4) -> float:
    """1, 2 or 5 times a power of ten, so that `span` has about so many steps."""
    raw = span / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def axis_range(values: Sequence[Value], axis: Axis) -> tuple[float, float, float]:
    """Lowest and highest label and the step between, round numbers, for what is drawn."""
    known = [v for v in values if v is not None]
    lo, hi = (min(known), max(known)) if known else (0.0, axis.least_span)
    if hi - lo < axis.least_span:
        middle = (lo + hi) / 2
        lo, hi = middle - axis.least_span / 2, middle + axis.least_span / 2
        if axis.low is not None and lo < axis.low:
            lo, hi = axis.low, axis.low + axis.least_span
        elif axis.high is not None and hi > axis.high:
            lo, hi = axis.high - axis.least_span, axis.high
    step = nice_step(hi - lo)
    lo, hi = math.floor(lo / step + 1e-9) * step, math.ceil(hi / step - 1e-9) * step
    if axis.low is not None:
        lo = max(lo, axis.low)
    if axis.high is not None:
        hi = min(hi, axis.high)
    return round(lo, 9), round(hi, 9), step


def line_chart(
    series: Sequence[Series],
    axes: Sequence[Axis],
    description: str,
    *,
    limits: Sequence[Limit] = (),
    span: tuple[float, float] | None = None,
    stale: bool = False,
) -> dict[str, Any]:
    """Lines over time. `span`: first and last time of the axis [s since 1970]; `stale`: drawn faint."""
    drawn = [decimate(*with_gaps(s.times, s.values, s.gap_s)) for s in series]
    y_axes = []
    for i, axis in enumerate(axes):
        values = [v for s, (_, vs) in zip(series, drawn, strict=True) if s.axis == i for v in vs]
        values += [limit.value for limit in limits if limit.axis == i]
        lo, hi, step = axis_range(values, axis)
        y_axes.append(_value_axis(lo, hi, step, right=i > 0))
    return {
        **_base(description, legend=len(series) > 1),
        "legend": _legend() if len(series) > 1 else {"show": False},
        "tooltip": {"trigger": "axis", "confine": True, "transitionDuration": 0},
        "xAxis": _time_axis(span),
        "yAxis": y_axes,
        "series": [
            _line(s, times, values, _limits_of(limits, series, i), stale=stale)
            for i, (s, (times, values)) in enumerate(zip(series, drawn, strict=True))
        ],
    }


def _limits_of(limits: Sequence[Limit], series: Sequence[Series], index: int) -> list[Limit]:
    """The first series of an axis carries its limits."""
    axis = series[index].axis
    return [] if any(s.axis == axis for s in series[:index]) else [limit for limit in limits if limit.axis == axis]


def _line(
    s: Series, times: Sequence[float], values: Sequence[Value], limits: Sequence[Limit], *, stale: bool = False
) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": s.name,
        "type": "line",
        "yAxisIndex": s.axis,
        "data": _points(times, values, s.digits),
        "showSymbol": 0 < len(times) < SPARSE and not s.dashed,
        "symbolSize": 4,
        "lineStyle": {
            "width": 1.8,
            "color": s.color,
            "type": "dashed" if s.dashed else "solid",
            "opacity": 0.4 if stale else 1.0,
        },
        "itemStyle": {"color": s.color},
        "emphasis": {"disabled": True},
        "animation": False,
    }
    if s.area:
        line["areaStyle"] = {"color": s.color, "opacity": 0.12}
    if limits:
        line["markLine"] = {
            "silent": True,
            "symbol": "none",
            "animation": False,
            "lineStyle": {"color": RED, "type": "dashed", "width": 1.2},
            "label": {"position": "insideStartTop", "color": RED, "fontSize": 11, "formatter": "{b}"},
            "data": [{"yAxis": limit.value, "name": limit.name} for limit in limits],
        }
    return line


def band_chart(
    times: Sequence[float],
    columns: Mapping[str, Sequence[Value]],
    color: str,
    axis: Axis,
    digits: int,
    description: str,
) -> dict[str, Any]:
    """A rollup: the mean as a line in a band from min to max. `columns`: min, max, mean; a pause breaks both."""
    gap_s = usual_gap_s(times)
    (low_times, low), (_, high), (_, mean) = (with_gaps(times, columns[k], gap_s) for k in ("min", "max", "mean"))
    times = low_times
    height = [None if a is None or b is None else b - a for a, b in zip(low, high, strict=True)]
    lo, hi, step = axis_range([*low, *high], axis)
    hidden = {"type": "line", "symbol": "none", "stack": "band", "stackStrategy": "all", "animation": False,
              "lineStyle": {"opacity": 0}, "emphasis": {"disabled": True}, "tooltip": {"show": False}}  # fmt: skip
    middle = Series("mean", times, mean, color, digits)
    return {
        **_base(description),
        "legend": {"show": False},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": _time_axis(None),
        "yAxis": [_value_axis(lo, hi, step)],
        "series": [
            {**hidden, "name": "min", "data": _points(times, low, digits)},
            {**hidden, "name": "range", "data": _points(times, height, digits),
             "areaStyle": {"color": color, "opacity": 0.22}},
            _line(middle, times, mean, []),
        ],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deviations:
    """Each cell against the median of all: `millivolts` None = no reading; `worst` is an index, None = no cell."""

    millivolts: list[Value]
    median_v: float | None
    worst: int | None

    @classmethod
    def of(cls, cells: Sequence[Value]) -> "Deviations":
        known = [v for v in cells if v is not None]
        if not known:
            return cls([None] * len(cells), None, None)
        middle = median(known)
        millivolts = [None if v is None else round((v - middle) * 1000, 1) for v in cells]
        worst = max((i for i, v in enumerate(millivolts) if v is not None), key=lambda i: abs(millivolts[i] or 0.0))
        return cls(millivolts, middle, worst)


def cell_chart(cells: Sequence[Value], description: str, *, stale: bool = False) -> dict[str, Any]:
    """A bar for each cell's deviation from the median [mV], the furthest one marked: bars from 3 V would hide it."""
    d = Deviations.of(cells)
    lo, hi, step = axis_range([*d.millivolts, 0.0], Axis(40.0))
    data: list[dict[str, Any]] = []
    for i, value in enumerate(d.millivolts):
        item: dict[str, Any] = {"value": value, "itemStyle": {"color": MUTED if stale else BLUE}}
        if i == d.worst and value is not None:
            item["itemStyle"] = {"color": MUTED if stale else ORANGE}
            place = "top" if value >= 0 else "bottom"
            item["label"] = {
                "show": True,
                "position": place,
                "color": MUTED,
                "formatter": f"cell {i + 1}",
                "fontSize": 11,
            }
        data.append(item)
    return {
        **_base(description),
        "tooltip": {"trigger": "axis", "confine": True, "axisPointer": {"type": "shadow"}},
        "xAxis": {
            "type": "category",
            "data": [str(i + 1) for i in range(len(cells))],
            "axisLabel": {**_FONT, "interval": max(0, len(cells) // 12 - 1)},
            "axisTick": {"show": False},
            "axisLine": {"onZero": False, "lineStyle": {"color": _GRID}},
        },
        "yAxis": [_value_axis(lo, hi, step)],
        "series": [{"name": "mV", "type": "bar", "data": data, "barCategoryGap": "25%", "animation": False}],
    }  # fmt: skip


def _base(description: str, *, legend: bool = False) -> dict[str, Any]:
    return {
        "animation": False,
        "useUTC": True,
        "backgroundColor": "transparent",
        "aria": {"enabled": True, "label": {"enabled": True, "description": description}},
        "grid": {"left": 8, "right": 12, "top": 28 if legend else 12, "bottom": 2, "containLabel": True},
    }


def _legend() -> dict[str, Any]:
    return {
        "show": True,
        "top": 0,
        "left": 4,
        "icon": "roundRect",
        "itemWidth": 12,
        "itemHeight": 3,
        "textStyle": _FONT,
    }


def _time_axis(span: tuple[float, float] | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "type": "time",
        "axisLabel": {**_FONT, "hideOverlap": True, "formatter": dict(_TIMES)},
        "axisLine": {"lineStyle": {"color": _GRID}},
        "axisTick": {"show": False},
        "splitLine": {"show": False},
        "splitNumber": 4,
    }
    if span is not None:
        axis |= {"min": round(span[0] * 1000), "max": round(span[1] * 1000)}
    return axis


def _value_axis(lo: float, hi: float, step: float, *, right: bool = False) -> dict[str, Any]:
    return {
        "type": "value",
        "min": lo,
        "max": hi,
        "interval": step,
        "position": "right" if right else "left",
        "axisLabel": _FONT,
        "splitLine": {"show": not right, "lineStyle": {"color": _GRID}},
    }


def _points(times: Sequence[float], values: Sequence[Value], digits: int) -> list[list[float | None]]:
    return [[round(t * 1000), None if v is None else round(v, digits)] for t, v in zip(times, values, strict=True)]
