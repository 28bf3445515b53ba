"""`pair` as a person runs it, at a node with and without Bluetooth."""

import argparse
import asyncio
from pathlib import Path

import pytest

from services.alert.outputs.settings import BluetoothSettings, ButtonSettings, LcdSettings
from services.alert.service import serve
from services.alert.settings import AlertSettings
from services.console.__main__ import console, run
from tests.alert.builders import shipped
from tests.alert.test_service import subscribed
from tests.fixtures_mosquitto import Broker


@pytest.mark.parametrize(
    ("outputs", "code", "said"),
    [
        ({"bluetooth": BluetoothSettings()}, 0, "for 60 s a phone may pair with pi"),
        ({}, 1, "pair refused: this node has no Bluetooth (settings: alert.bluetooth)"),
        (
            {"bluetooth": BluetoothSettings(), "lcd": LcdSettings(bus=99), "button": ButtonSettings(pin=3)},
            1,
            "pair refused: this node asks at its display: pair from the phone and press the button",
        ),
    ],
)
async def test_pair_opens_the_window_where_that_is_how_phones_pair(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, object], code: int, said: str
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")  # not this computer's BlueZ
    settings = AlertSettings(node="pi", broker_port=broker.port, data_dir=tmp_path / "a", heartbeat_s=0.5)
    stop = asyncio.Event()
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        serving = asyncio.create_task(serve(settings.model_copy(update=outputs), shipped(), stop))
        await subscribed(client)
        arguments = argparse.Namespace(data=tmp_path / "none", port=broker.port, by="anna@test", seconds=60.0)
        with console.capture() as captured:
            assert await run(arguments, "pair") == code
        assert said in captured.get()
        stop.set()
        await serving
