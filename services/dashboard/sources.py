"""What all tabs of one server process share: the live feed and the REST client."""

import logging
import sys

import streamlit as st

from services.dashboard.history import History
from services.dashboard.live import LiveFeed
from services.dashboard.settings import DashboardSettings


@st.cache_resource(show_spinner=False)
def feed() -> LiveFeed:
    logging.basicConfig(  # Streamlit sets up a logger of its own only
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s dashboard %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request
    return LiveFeed(DashboardSettings.load()).start()


@st.cache_resource(show_spinner=False)
def history() -> History:
    return History(DashboardSettings.load())
