"""The system page: which services live, whether the streams are complete, what could not be read.

Also what is shown while no device has been heard of: it says which part is missing.
"""

import time

import streamlit as st

from services.dashboard import markup
from services.dashboard.history import HistoryError
from services.dashboard.sources import feed, history
from services.dashboard.state import Key


@st.fragment(run_every=2.0)
def draw(key: Key | None) -> None:
    """Draw it; `key` None = there is no device yet: start the page anew when there is one."""
    live = feed()
    if key is None and live.devices():
        st.rerun()
    connection = live.connection()
    st.html(markup.recorded("", None, markup.connection(connection, time.monotonic())))
    found = live.services()
    if key is None:
        _missing(connection.cut_since is not None, {row.service for row in found if row.life == "online"})
    st.html(markup.section("Services"))
    if found:
        st.html(markup.services(found))
    else:
        st.html(markup.empty("No service heard", "Each service publishes a heartbeat on `emberwatch/v1/+/+/status/+`."))
    _store()


def _missing(cut: bool, online: set[str]) -> None:
    """No device: what to look at, in the order of the path."""
    if cut:
        lines = ["The dashboard has no broker yet. It goes on trying; nothing needs to be restarted here."]
    elif "sensor" not in online:
        lines = [
            "No sensor service is online at this broker. Is it running, and is its gateway bridged to this broker?"
        ]
    else:
        lines = ["A sensor service is online, but no layout or sample has come yet."]
    st.html(markup.empty("Waiting for the first device", *lines))


def _store() -> None:
    st.html(markup.section("Streams in the store"))
    try:
        streams, refused = history().streams(), history().quarantine()
    except HistoryError as error:
        st.html(markup.empty("The store is not available now", error.reason, "Live values do not need it."))
        return
    if streams:
        st.html(markup.streams(streams))
    else:
        st.html(markup.empty("No stream yet", "The store has received nothing."))
    st.html(markup.section("Quarantine"))
    if refused:
        rows = [markup.cells(item["received_at"], item["topic"], item["reason"]) for item in refused]
        st.html(markup.table(("Received", "Topic", "Why it was set aside"), rows))
    else:
        st.html(markup.empty("Empty", "Every message could be read and stored."))
