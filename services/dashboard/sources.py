"""What all tabs of one server process share: the live feed and the REST client."""

import streamlit as st

from services.dashboard.history import History
from services.dashboard.live import LiveFeed
from services.dashboard.settings import DashboardSettings


@st.cache_resource(show_spinner=False)
def feed() -> LiveFeed:
    return LiveFeed(DashboardSettings.load()).start()


@st.cache_resource(show_spinner=False)
def history() -> History:
    return History(DashboardSettings.load())
