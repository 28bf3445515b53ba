"""The live page: one fragment, drawn again each second from the feed's view of this tick."""

import time

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit_echarts import st_echarts

from services.dashboard import markup
from services.dashboard.alarms import AlarmRow
from services.dashboard.history import HistoryError
from services.dashboard.panels import Panel
from services.dashboard.sources import feed, history
from services.dashboard.state import Key
from services.dashboard.view import View

WINDOWS: dict[str, float | None] = {"5 min": 300.0, "15 min": 900.0, "1 h": 3600.0, "all": None}
CHART_HEIGHT = "190px"


def draw(key: Key) -> None:
    """Draw the page of a device."""
    _live(key)


@st.fragment(run_every=1.0)
def _live(key: Key) -> None:
    live = feed()
    window = WINDOWS[st.session_state.get("window") or "15 min"]
    view = live.view(key, window)
    st.html(markup.banner(view.banner, view.elsewhere))
    pill = markup.connection(view.connection, time.monotonic())
    st.html(markup.tiles(view.tiles) + markup.recorded(view.recorded, view.replay, pill))
    if view.estimates:
        st.html(markup.section("Estimates") + markup.tiles(view.estimates))
    charts, side = st.columns([2, 1], gap="medium")
    with charts:
        _charts(view)
    with side:
        _alarms(view)
        _display(view)


def _charts(view: View) -> None:
    title, choice = st.columns([1, 1], vertical_alignment="center")
    title.html(markup.section("Measurements"))
    with choice.container(horizontal=True, horizontal_alignment="right"):
        st.segmented_control(
            "Recorded time shown", list(WINDOWS), default="15 min", key="window", label_visibility="collapsed"
        )
    if not view.panels:
        st.html(
            markup.empty(
                "Nothing to draw yet",
                f"Charts appear with the first sample of `{view.key[0]} / {view.key[1]}` that comes after this page's "
                "server started.",
                "What was measured before is under History.",
            )
        )
        return
    missing = not any(panel.key.startswith("score-") for panel in view.panels)
    places = grid(len(view.panels) + missing)
    for place, panel in zip(places, view.panels, strict=False):
        with place:
            chart(panel, f"{'-'.join(view.key)}-{panel.key}")
    if missing:
        places[-1].html(
            markup.empty(
                "No score yet",
                "A model judges windows of minutes; its score against its threshold is drawn here once the node's "
                "inference service has published one.",
            )
        )


def grid(count: int) -> list[DeltaGenerator]:
    """Places for so many charts, two in a row; on a narrow window they keep their order."""
    return [place for _ in range(0, count, 2) for place in st.columns(2, gap="small")][:count]


def chart(panel: Panel, key: str, height: str = CHART_HEIGHT) -> None:
    """A chart in its frame, with what it says in words above it."""
    with st.container(border=True, key=f"panel-{key}", gap=None):
        st.html(markup.panel_head(panel.title, panel.summary))
        st_echarts(dict(panel.option), height=height, key=f"chart-{key}", replace_merge=["series", "yAxis"])


def _alarms(view: View) -> None:
    st.html(markup.section("Alarms"))
    if not view.alarms:
        st.html(
            markup.empty("No alarm", "None stands, and none has cleared since the node's alert service keeps count.")
        )
        return
    if any(row.may_acknowledge or row.may_reset for row in view.alarms):
        st.text_input("Your name", key="by", placeholder="goes into the alarm's history", max_chars=100)
    for row in view.alarms:
        _alarm(row)


def _alarm(row: AlarmRow) -> None:
    with st.container(border=True, key=f"alarm-{row.key}", gap="small"):
        st.html(markup.alarm(row))
        answers = st.session_state.setdefault("answers", {})
        if row.may_acknowledge and st.button("Acknowledge", key=f"ack-{row.key}", type="primary"):
            answers[row.key] = _command("acknowledge", row)
        if row.may_reset and st.button("Reset", key=f"reset-{row.key}"):
            answers[row.key] = _command("reset", row)
        said = answers.get(row.key)
        if said and said[0] == row.alarm.occurrence and not (said[1] and row.alarm.acknowledged):
            (st.success if said[1] else st.error)(said[2])


def _command(action: str, row: AlarmRow) -> tuple[str | None, bool, str]:
    """Send it; returns (occurrence, done, what to say)."""
    by = str(st.session_state.get("by") or "").strip()
    if not by:
        return row.alarm.occurrence, False, "Enter your name first: an acknowledge says who it was."
    try:
        reply = history().command("reset" if action == "reset" else "acknowledge", row, f"{by}@dashboard")
    except HistoryError as error:
        return row.alarm.occurrence, False, f"Not sent or not answered: {error.reason}"
    if reply.status == "done":
        return row.alarm.occurrence, True, f"Done: {action} by {by}."
    return row.alarm.occurrence, False, f"{reply.status.capitalize()}: {reply.reason or 'no reason given'}"


def _display(view: View) -> None:
    st.html(markup.section(f"Display of {view.key[0]}"))
    if view.display:
        st.html(markup.lcd(view.display, view.display_life))
    else:
        st.html(markup.empty("No frame yet", "The node's alert service publishes what its 20x4 display shows."))
