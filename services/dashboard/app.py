"""The page: `streamlit run services/dashboard/app.py`, or `python -m services.dashboard`. Layout only."""

from pathlib import Path

import streamlit as st

from services.dashboard import markup, page_history, page_live, page_system
from services.dashboard.sources import feed
from services.dashboard.state import Key

VIEWS = ("Live", "History", "System")


def main() -> None:
    st.set_page_config(page_title="Emberwatch", page_icon="🔥", layout="wide")
    st.html(Path(__file__).with_name("style.css"))
    logo, views, device = st.columns([2, 2, 2], vertical_alignment="center")
    logo.html(markup.LOGO)
    chosen = views.segmented_control("View", VIEWS, default="Live", key="view", label_visibility="collapsed")
    key = _choose_device(device)
    if key is None or chosen == "System":
        page_system.draw(key)
    elif chosen == "History":
        page_history.draw(key)
    else:
        page_live.draw(key)


def _choose_device(place: st.delta_generator.DeltaGenerator) -> Key | None:
    """The device in the address (`?device=pi/pack-1`), or else the first one; None = none has been heard of."""
    known = feed().devices()
    if not known:
        return None
    names = ["/".join(key) for key in known]
    asked = st.query_params.get("device")
    index = names.index(asked) if asked in names else 0
    name = place.selectbox(
        "Device", names, index=index, label_visibility="collapsed", format_func=lambda n: n.replace("/", " / ")
    )
    if name != asked and len(names) > 1:
        st.query_params["device"] = name
    return known[names.index(name)]


main()
