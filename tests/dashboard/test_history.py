"""The REST client against the real ingest, with a real alert service on the node's side of one broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from services.bus.messages import write
from services.dashboard.alarms import AlarmRow
from services.dashboard.history import History, HistoryError
from services.dashboard.live import LiveFeed
from services.dashboard.past import span_of
from services.dashboard.settings import DashboardSettings
from tests.dashboard.conftest import LAYOUT, PREFIX, START, one_alarm, sample, until
from tests.fixtures_mosquitto import Broker, free_ports

KEY = ("pi", "pack-1")
COUNT = 130


@pytest.fixture
def history(broker: Broker, postgres_url: str, tmp_path: Path) -> Iterator[History]:
    """A client of an ingest process that is ready; an alert service runs as node `pi`."""
    port = free_ports(1)[0]
    common = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")}
    common |= {"EMBERWATCH_BROKER_PORT": str(broker.port), "EMBERWATCH_HEARTBEAT_S": "1"}
    special = {
        "ingest": {"EMBERWATCH_DATABASE_URL": postgres_url, "EMBERWATCH_HTTP_PORT": str(port)},
        "alert": {"EMBERWATCH_NODE": "pi"},
    }
    settings = DashboardSettings(api_url=f"http://127.0.0.1:{port}")
    with ExitStack() as stack:
        for service, environment in special.items():
            own = {"EMBERWATCH_DATA_DIR": str(tmp_path / service)}
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"], env=common | own | environment, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        def ready() -> bool:
            try:
                return httpx.get(f"{settings.api_url}/healthz").is_success
            except httpx.TransportError:
                return False

        until(ready, 40.0)
        with broker.client() as client:
            client.subscribe(f"{PREFIX}/node/status/alert")
            client.wait_for(f"{PREFIX}/node/status/alert")
        yield stack.enter_context(History(settings))


def test_what_was_measured_is_read_and_what_was_raised_is_acknowledged(
    history: History, broker: Broker, feed: LiveFeed
) -> None:
    assert history.span(*KEY) is None
    with broker.client() as client:
        client.publish(f"{PREFIX}/pack-1/layout/battery", write(LAYOUT), retain=True)
        for seq in range(COUNT):
            client.publish(f"{PREFIX}/pack-1/telemetry/battery", write(sample(seq, cell_voltage_max=4.3)))
    end = START + timedelta(seconds=COUNT - 1)
    until(lambda: history.span(*KEY) == (START, end))

    raw = history.samples(*KEY, *span_of(START, end, None), "raw")
    assert (raw.resolution_s, raw.complete, len(raw.ts)) == (0, True, COUNT)
    assert (raw.ts[0], raw.channels["voltage"][0]) == (START.timestamp(), 352.0)
    assert "cell_voltages" not in raw.channels
    until(lambda: len(history.samples(*KEY, START, end, "60").ts) >= 2)
    minutes = history.samples(*KEY, START, end, "60")
    assert (minutes.resolution_s, minutes.channels["soc"]["max"][0]) == (60, pytest.approx(0.61))
    assert history.scores(*KEY, START, end) == []

    def standing() -> list[AlarmRow]:
        found = feed.view(KEY, None).alarms
        return [row for row in found if row.rule == "cell_over_voltage" and row.attention]

    until(standing)
    (row,) = standing()
    until(lambda: any(e["type"] == "raised" for e in history.events(*KEY, START, end)))
    refused = history.command(
        "acknowledge",
        AlarmRow(row.node, row.device, row.rule, None, row.revision, one_alarm(occurrence="01XX")),
        "anna",
    )
    assert refused.status == "refused"
    assert "raised again" in (refused.reason or "")
    assert history.command("acknowledge", row, "anna@dashboard").status == "done"
    until(lambda: standing()[0].alarm.acknowledged)
    until(lambda: history.events(*KEY, START, end + timedelta(days=30_000))[0]["by"] == "anna@dashboard")

    telemetry = next(s for s in history.streams("pi") if s["kind"] == "telemetry")
    assert (telemetry["received"], telemetry["missing"], telemetry["lost"]) == (COUNT, 0, 0)
    with broker.client() as client:
        client.publish(f"{PREFIX}/pack-1/telemetry/battery", b"{")
    until(history.quarantine)

    with pytest.raises(HistoryError, match="no device attic of node pi") as unknown:
        history.scores("pi", "attic", START, end)
    assert not unknown.value.offline
    with pytest.raises(HistoryError, match="alert of node attic did not answer"):
        history.command("acknowledge", AlarmRow("attic", "pack-1", "cell_over_voltage", None, 1, row.alarm), "anna")


def test_nobody_there_is_said(tmp_path: Path) -> None:
    settings = DashboardSettings(api_url=f"http://127.0.0.1:{free_ports(1)[0]}", data_dir=tmp_path)
    with History(settings) as history, pytest.raises(HistoryError, match="cannot be reached") as error:
        history.devices()
    assert error.value.offline


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, text="<html>"), "status 200, and no JSON"),
        (httpx.Response(200, json={}), "in a form that is not known here"),
        (httpx.Response(502, json={"error": 1}), "status 502"),
        (httpx.Response(422, json={"detail": [{"loc": ["query", "node"], "msg": "too long"}]}), "query.node: too long"),
    ],
)
def test_an_answer_of_something_else_is_an_error_and_no_crash(answer: httpx.Response, said: str) -> None:
    transport = httpx.MockTransport(lambda request: answer)  # a proxy's page, another program on the port
    with History(DashboardSettings(), transport) as history, pytest.raises(HistoryError, match=said):
        history.devices()
