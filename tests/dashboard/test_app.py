"""The page on a real feed: every state can be drawn, and an acknowledge goes where it should."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from services.bus.messages import write
from services.dashboard import sources
from services.dashboard.settings import DashboardSettings
from tests.dashboard.conftest import LAYOUT, PREFIX, alarm, online, sample, wait_sample, wait_subscribed
from tests.fixtures_mosquitto import Broker, free_ports

PAGE = Path(sources.__file__).with_name("app.py")


@pytest.fixture
def page(settings: DashboardSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The page, its feed connected; nobody serves the REST interface."""
    monkeypatch.setenv("EMBERWATCH_BROKER_PORT", str(settings.broker_port))
    monkeypatch.setenv("EMBERWATCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("EMBERWATCH_API_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    st.cache_resource.clear()
    wait_subscribed(sources.feed())
    yield AppTest.from_file(PAGE, default_timeout=30)
    sources.feed().close()
    sources.history().close()
    st.cache_resource.clear()


def text(page: AppTest) -> str:
    assert not page.exception, page.exception
    return " ".join(str(element.proto.body) for element in page.get("html"))


def publish(broker: Broker, *, with_alarm: bool = False) -> None:
    with broker.client() as client:
        client.publish(f"{PREFIX}/pack-1/layout/battery", write(LAYOUT), retain=True)
        client.publish(f"{PREFIX}/node/status/alert", write(online(display=["GREEN OK   08:15:02 *"])), retain=True)
        if with_alarm:
            client.publish(f"{PREFIX}/pack-1/alarm/cell_over_voltage", write(alarm()), retain=True)
        for seq in range(3):
            client.publish(f"{PREFIX}/pack-1/telemetry/battery", write(sample(seq)))
    wait_sample(sources.feed(), 2)


def test_an_empty_broker_is_explained(page: AppTest) -> None:
    shown = text(page.run())
    assert "Waiting for the first device" in shown
    assert "No sensor service is online" in shown
    assert "The store is not available now" in shown


def test_a_live_device_is_shown_with_its_display_and_charts(page: AppTest, broker: Broker) -> None:
    publish(broker)
    shown = text(page.run())
    for part in ("NORMAL", "352.0", "discharging", "fault:crc", "GREEN OK", "Cells against their median", "No alarm"):
        assert part in shown, part
    assert page.selectbox[0].value == "pi/pack-1"


def test_an_acknowledge_needs_a_name_and_says_when_nobody_answers(page: AppTest, broker: Broker) -> None:
    publish(broker, with_alarm=True)
    assert "HIGH ALARM" in text(page.run())
    page.button[0].click().run()
    assert "Enter your name first" in page.error[0].value
    page.text_input(key="by").set_value("anna").run()
    page.button[0].click().run()
    assert page.error[0].value.startswith("Not sent or not answered: http://127.0.0.1:")


@pytest.mark.parametrize(("view", "said"), [("History", "The history is not available now"), ("System", "Services")])
def test_the_other_pages_live_without_the_store(page: AppTest, broker: Broker, view: str, said: str) -> None:
    publish(broker)
    page.session_state["view"] = view
    assert said in text(page.run())
