"""Charts of what the store gives back. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.dashboard.charts import RED, Axis, Series, band_chart, line_chart
from services.dashboard.decimation import Value, usual_gap_s
from services.dashboard.history import Samples
from services.dashboard.panels import BATTERY, Line, Panel, in_words

TITLES = {
    "voltage": "Voltage",
    "current": "Current (positive = charging)",
    "temperature_max": "Hottest probe",
    "temperature_min": "Coldest probe",
    "cell_spread": "Cell spread",
    "soc": "State of charge",
}
RESOLUTIONS = {0: "every sample", 60: "per minute", 3600: "per hour"}


def span_of(first: datetime, last: datetime, back: timedelta | None) -> tuple[datetime, datetime]:
    """The newest `back` of what is stored (None = all): first moment, and last moment, which is not included."""
    end = last + timedelta(milliseconds=1)
    return (first if back is None else max(first, end - back)), end


def sample_panels(samples: Samples) -> list[Panel]:
    """A panel a channel: raw as a line, a rollup as the mean in a band from min to max."""
    if not samples.ts:
        return []
    found, plotted = [], set()
    for plan in BATTERY:
        for line in plan.lines:
            if line.channel in samples.channels:
                plotted.add(line.channel)
                found.append(_panel(line, plan.axes[line.axis], samples))
    for channel in samples.channels.keys() - plotted - {"cell_voltage_max", "cell_voltage_min"}:
        line = Line(channel, channel.replace("_", " "), "", BATTERY[0].lines[0].color, 4)
        found.append(_panel(line, Axis(1e-3), samples))
    return found


def _panel(line: Line, axis: Axis, samples: Samples) -> Panel:
    title, columns = f"{TITLES.get(line.channel, line.name)}, {line.unit}", samples.channels[line.channel]
    if samples.resolution_s == 0:
        values = _scaled(columns, line.scale)
        summary = in_words(line.name, line.unit, line.digits, values) + "."
        series = Series(line.name, samples.ts, values, line.color, line.digits, gap_s=usual_gap_s(samples.ts))
        return Panel(line.channel, title, summary, line_chart([series], [axis], f"{title}. {summary}"))
    scaled: Mapping[str, list[Value]] = {k: _scaled(v, line.scale) for k, v in columns.items()}
    lows, highs = ([v for v in scaled[k] if v is not None] for k in ("min", "max"))
    low, high = (f"{pick(vs):.{line.digits}f}" if vs else "–" for pick, vs in ((min, lows), (max, highs)))
    summary = (
        f"{low} to {high} {line.unit}; mean, and range from least to greatest, {RESOLUTIONS[samples.resolution_s]}."
    )
    option = band_chart(samples.ts, scaled, line.color, axis, line.digits, f"{title}. {summary}")
    return Panel(line.channel, title, summary, option)


def past_scores(items: Sequence[Mapping[str, Any]], times: Sequence[float]) -> list[Panel]:
    """A panel a model. `times`: of the items [s since 1970]."""
    found = []
    for model in sorted({str(item["model"]) for item in items}):
        chosen = [(t, item) for t, item in zip(times, items, strict=True) if item["model"] == model]
        ts = [t for t, _ in chosen]
        gap_s = usual_gap_s(ts)
        scores, thresholds = ([float(item[k]) for _, item in chosen] for k in ("score", "threshold"))
        beyond = sum(s > t for s, t in zip(scores, thresholds, strict=True))
        summary = f"{model}: {len(scores)} windows, {beyond} beyond the threshold, highest {max(scores):.2f}."
        series = [
            Series("score", ts, scores, BATTERY[0].lines[0].color, 3, gap_s=gap_s),
            Series("threshold", ts, thresholds, RED, 3, dashed=True, gap_s=gap_s),
        ]
        found.append(Panel(f"score-{model}", "Anomaly score", summary, line_chart(series, [Axis(1.0)], summary)))
    return found


def _scaled(values: Sequence[Value], scale: float) -> list[Value]:
    return [None if v is None else v * scale for v in values]
