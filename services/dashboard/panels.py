"""Which charts a device gets, and each in words. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.bus.messages import Alarm, Score
from services.dashboard.alarms import unit_words
from services.dashboard.charts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    TEAL,
    VIOLET,
    Axis,
    Deviations,
    Limit,
    Series,
    cell_chart,
    line_chart,
)
from services.dashboard.decimation import Value, usual_gap_s
from services.dashboard.staleness import duration
from services.dashboard.state import Point, ScorePoint

GAP_PERIODS: Final = 5.0
GAP_MIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart with its title and the text that says the same (`summary`)."""

    key: str
    title: str
    summary: str
    option: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """A channel as it is drawn."""

    channel: str
    name: str
    unit: str
    color: str
    digits: int
    scale: float = 1.0
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A panel of lines. `limits`: channels whose alarm limits are drawn (in the first axis' unit)."""

    key: str
    title: str
    lines: tuple[Line, ...]
    axes: tuple[Axis, ...]


BATTERY: Final = (
    Plan(
        "electric",
        "Voltage and current",
        (Line("voltage", "Voltage (V)", "V", BLUE, 1), Line("current", "Current (A)", "A", ORANGE, 1, axis=1)),
        (Axis(4.0), Axis(10.0)),
    ),
    Plan(
        "temperature",
        "Temperature, °C",
        (Line("temperature_max", "Hottest (°C)", "°C", RED, 1), Line("temperature_min", "Coldest (°C)", "°C", TEAL, 1)),
        (Axis(10.0),),
    ),
    Plan(
        "spread",
        "Cell spread, mV",
        (Line("cell_spread", "Spread (mV)", "mV", VIOLET, 0, 1000.0),),
        (Axis(50.0, low=0.0),),
    ),
    Plan(
        "soc",
        "State of charge, %",
        (Line("soc", "State of charge (%)", "%", GREEN, 1, 100.0),),
        (Axis(10.0, low=0.0, high=100.0),),
    ),
)


def other_plans(units: Mapping[str, str]) -> tuple[Plan, ...]:
    """A panel a scalar channel, for a profile without panels of its own. `units`: by channel."""
    return tuple(
        Plan(
            channel,
            channel.replace("_", " ").capitalize(),
            (Line(channel, f"{channel.replace('_', ' ')} ({unit_words(unit)})", unit_words(unit), BLUE, 4),),
            (Axis(1e-3),),
        )
        for channel, unit in units.items()
    )


def line_panels(
    plans: Sequence[Plan],
    points: Sequence[Point],
    period_s: float,
    alarms: Sequence[Alarm],
    window_s: float | None,
    *,
    stale: bool = False,
) -> list[Panel]:
    """Panels of the newest `window_s` seconds of recorded time (None = all that is kept)."""
    if not points:
        return []
    end = points[-1].ts
    start = points[0].ts if window_s is None else max(points[0].ts, end - window_s)
    shown = [p for p in points if p.ts >= start]
    times = [p.ts for p in shown]
    span = (start, max(end, start + 10 * period_s))
    found = []
    for plan in plans:
        lines = [line for line in plan.lines if any(line.channel in p.values for p in shown[-1:])]
        if lines:
            found.append(_panel(plan, lines, shown, times, span, period_s, alarms, stale))
    return found


def _panel(
    plan: Plan,
    lines: Sequence[Line],
    shown: Sequence[Point],
    times: Sequence[float],
    span: tuple[float, float],
    period_s: float,
    alarms: Sequence[Alarm],
    stale: bool,
) -> Panel:
    series, words = [], []
    for line in lines:
        values = [_scaled(p.values.get(line.channel), line.scale) for p in shown]
        gap_s = max(GAP_MIN_S, GAP_PERIODS * period_s)
        series.append(Series(line.name, times, values, line.color, line.digits, line.axis, gap_s=gap_s))
        words.append(in_words(line.name, line.unit, line.digits, values))
    limits = [
        Limit(f"limit {alarm.evidence.limit * line.scale:g} {line.unit}", alarm.evidence.limit * line.scale, line.axis)
        for line in lines
        for alarm in alarms
        if alarm.evidence is not None and alarm.evidence.limit is not None and alarm.evidence.channel == line.channel
        if unit_words(alarm.evidence.unit) in (line.unit, "V" if line.unit == "mV" else line.unit)
    ]
    summary = " · ".join(words)
    description = f"{plan.title}. {summary}. Last {duration(span[1] - span[0])} of recorded time."
    return Panel(
        plan.key,
        plan.title,
        summary,
        line_chart(series, plan.axes, description, limits=limits, span=span, stale=stale),
    )


def in_words(name: str, unit: str, digits: int, values: Sequence[Value]) -> str:
    """`Voltage 352.0 V (350.1 to 353.2)`: now, and the range of what is drawn."""
    known = [v for v in values if v is not None]
    label = name.partition(" (")[0]
    if not known:
        return f"{label}: no reading"
    last = values[-1]
    now = "no reading now" if last is None else f"{last:.{digits}f} {unit}"
    return f"{label} {now} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def _scaled(value: Value, scale: float) -> Value:
    return None if value is None else value * scale


def cell_panel(cells: Sequence[Value], *, stale: bool) -> Panel | None:
    """The cells of the last sample, as deviations from their median."""
    d = Deviations.of(cells)
    if d.median_v is None or d.worst is None:
        return None
    missing = sum(v is None for v in cells)
    furthest = d.millivolts[d.worst] or 0.0
    summary = f"{len(cells)} cells, median {d.median_v:.3f} V · furthest: cell {d.worst + 1}, {furthest:+.0f} mV"
    if missing:
        summary += f" · {missing} without a reading"
    return Panel("cells", "Cells against their median, mV", summary, cell_chart(cells, summary, stale=stale))


def score_panel(
    model: str, points: Sequence[ScorePoint], last: Score | None, window_s: float | None = None
) -> Panel | None:
    """A model's score against its threshold, over the newest `window_s` of recorded time."""
    if not points:
        return None
    start = -math.inf if window_s is None else points[-1].ts - window_s
    points = [p for p in points if p.ts >= start]
    times, scores = [p.ts for p in points], [p.score for p in points]
    gap_s = usual_gap_s(times)
    beyond = sum(p.score > p.threshold for p in points)
    newest = points[-1]
    summary = f"{model} {newest.score:.2f}, threshold {newest.threshold:.2f} · {beyond} of {len(points)} beyond"
    if last is not None and last.shares:
        channel = max(last.shares, key=last.shares.__getitem__)
        summary += f" · mostly {channel.replace('_', ' ')}"
    series = [
        Series("score", times, scores, BLUE, 3, gap_s=gap_s),
        Series("threshold", times, [p.threshold for p in points], RED, 3, dashed=True, gap_s=gap_s),
    ]
    option = line_chart(series, (Axis(1.0, low=0.0 if min(scores) >= 0 else None),), f"Score. {summary}")
    return Panel(f"score-{model}", "Anomaly score", summary, option)


__all__ = ["BATTERY", "Panel", "Plan", "cell_panel", "in_words", "line_panels", "other_plans", "score_panel"]
