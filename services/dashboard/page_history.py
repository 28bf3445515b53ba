"""The history page: samples, scores and alarm events of a span of time, from the REST interface."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from services.dashboard import markup
from services.dashboard.alarms import time_words
from services.dashboard.history import HistoryError, Resolution
from services.dashboard.page_live import chart, grid
from services.dashboard.past import RESOLUTIONS, past_scores, sample_panels, span_of
from services.dashboard.sources import history
from services.dashboard.state import Key

RANGES: dict[str, timedelta | None] = {
    "Last 15 min": timedelta(minutes=15),
    "Last hour": timedelta(hours=1),
    "Last day": timedelta(days=1),
    "Everything": None,
    "From .. to": None,
}
FINENESS: dict[str, Resolution] = {"Automatic": "auto", "Raw": "raw", "1 min": "60", "1 h": "3600"}


def draw(key: Key) -> None:
    """Draw what the store knows of a device."""
    try:
        span = history().span(*key)
        if span is None:
            st.html(markup.empty("No history yet", "The store holds no sample of this device."))
            return
        _draw(key, *span)
    except HistoryError as error:
        reason = "The history is not available now" if error.offline else "The store did not answer as asked"
        st.html(markup.empty(reason, error.reason, "Live values do not need it. Choose again to retry."))


def _draw(key: Key, first: datetime, last: datetime) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    chosen = left.segmented_control("Range, back from the last sample", list(RANGES), default="Last hour", key="range")
    fine = right.segmented_control("Resolution", list(FINENESS), default="Automatic", key="fine")
    start, end = _span(chosen or "Last hour", first, last)
    if start >= end:
        st.html(markup.empty("The range is empty", "Its end is not after its beginning."))
        return
    samples = history().samples(*key, start, end, FINENESS[fine or "Automatic"])
    said = f"{time_words(start)} to {time_words(end)}, {RESOLUTIONS[samples.resolution_s]}, {len(samples.ts):,} points"
    if not samples.complete:
        said += "; the range holds more than one look may bring, so its end is missing: choose a coarser resolution"
    st.caption(said + ".")
    panels = sample_panels(samples)
    scores = history().scores(*key, start, end)
    panels += past_scores(scores, [datetime.fromisoformat(item["ts"]).timestamp() for item in scores])
    if not panels:
        st.html(markup.empty("Nothing in this range", "No sample and no score was stored for it."))
    for place, panel in zip(grid(len(panels)), panels, strict=True):
        with place:
            chart(panel, f"past-{'-'.join(key)}-{panel.key}-{samples.resolution_s}", "240px")
    st.html(markup.section("Alarm events"))
    found = history().events(*key, start, end)
    st.html(
        markup.events(found) if found else markup.empty("No event", "No alarm of this device changed in this range.")
    )


def _span(chosen: str, first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """First (included) and last (excluded) moment."""
    if chosen == "From .. to":
        picks = st.columns(4)
        days = [
            picks[i * 2].date_input(f"{title}, day", value=t.date(), key=f"{title}-day") for i, (title, t) in
            enumerate((("From", first), ("To", last)))
        ]  # fmt: skip
        times = [
            picks[i * 2 + 1].time_input(
                f"{title}, time (UTC)", value=t.time().replace(microsecond=0), key=f"{title}-time"
            )
            for i, (title, t) in enumerate((("From", first), ("To", last)))
        ]
        begin, until = (datetime.combine(day, at, tzinfo=UTC) for day, at in zip(days, times, strict=True))
        return begin, until + timedelta(seconds=1)
    return span_of(first, last, RANGES[chosen])
