"""From settings to outputs; and all of them at work in the service, on a real broker."""

import asyncio
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from services.alert.desk import Desk
from services.alert.outputs import gpio
from services.alert.outputs.settings import LcdSettings
from services.alert.outputs.wiring import wire
from services.alert.service import serve
from services.alert.settings import AlertSettings
from services.bus.errors import ConfigError
from tests.alert.builders import shipped
from tests.alert.outputs.eventually import eventually
from tests.alert.test_service import ALARM, publish, sensor, subscribed, wait
from tests.fixtures_mosquitto import Broker
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.masters import SMBus
from tests.hardware.board.pcf8574 import Pcf8574

OUTPUTS: dict[str, Any] = {
    "lcd": {"bus": 1, "address": 0x27},
    "lamp": {"green": 17, "amber": 27, "red": 22},
    "buzzer": {"pin": 18},
    "button": {"pin": 23},
}
ENDS = "emberwatch/v1/pi/node/alarm/output_failed"


@pytest.fixture
def pins_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """lgpio has no wheel for Python 3.13; the pins of these tests are gpiozero's own."""
    found = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return found(name, *rest) or (found("gpiozero") if name == "lgpio" else None)

    monkeypatch.setattr("importlib.util.find_spec", find)


@pytest.mark.usefixtures("pins_driver")
def test_only_what_is_set_is_wired(tmp_path: Path) -> None:
    desk = Desk("pi")
    assert [o.name for o in wire(AlertSettings(data_dir=tmp_path), desk)] == ["console"]
    outputs = wire(AlertSettings(data_dir=tmp_path, **OUTPUTS), desk)
    assert [o.name for o in outputs] == ["console", "lcd", "lamp", "buzzer", "button"]
    assert desk.screen is not None
    assert desk.screen.seen(0.0) is None


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "RPLCD" else found(name, *a))
    with pytest.raises(ConfigError, match=r"alert: lcd: needs RPLCD: pip install 'emberwatch\[pi\]'"):
        wire(AlertSettings(data_dir=tmp_path, **OUTPUTS), Desk("pi"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lcd: {address: 0x50}", "lcd: Value error, address 0x50: a PCF8574 has 0x20 to 0x27"),
        ("lcd: {size: 40x2}", "lcd.size: Input should be '20x4' or '16x2'"),
        ("lamp: {green: 17}", "lamp.red: Field required"),
        ("lamp: {green: 17, red: 99}", "lamp.red: Input should be less than or equal to 63"),
        ("{lamp: {green: 17, red: 22}, button: {pin: 17}}", "lamp.green and button.pin are both GPIO 17"),
        ("buzzer: {pni: 1}", "buzzer.pin: Field required"),
        ("bluetooth: {adapter: ttyS0}", "bluetooth.adapter: String should match"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str) -> None:
    path = tmp_path / "emberwatch.yaml"
    path.write_text(f"alert: {text if text.startswith('{') else '{' + text + '}'}")
    monkeypatch.setenv("EMBERWATCH_CONFIG", str(path))
    with pytest.raises(ConfigError) as error:
        AlertSettings.load()
    assert named in str(error.value)


def test_settings_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBERWATCH_LCD", '{"bus": 3, "size": "16x2"}')
    lcd = AlertSettings.load().lcd
    assert lcd is not None
    assert (lcd.bus, lcd.address, lcd.columns, lcd.rows) == (3, 0x27, 16, 2)


@pytest.mark.usefixtures("pins_driver")
async def test_an_alarm_is_shown_sounds_and_is_acknowledged_by_the_button(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip, pins = Pcf8574(), MockFactory()
    bus = I2cBus([chip])
    monkeypatch.setattr("smbus2.SMBus", lambda number: SMBus(bus))
    monkeypatch.setattr(gpio, "lgpio_factory", lambda number: pins)
    own = AlertSettings(node="pi", broker_port=broker.port, data_dir=tmp_path / "a", heartbeat_s=0.5, **OUTPUTS)
    rules = shipped()
    stop = asyncio.Event()

    async def shows(condition: Any) -> None:
        await asyncio.to_thread(eventually, condition, 20.0)

    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        async with sensor(broker, tmp_path / "s") as publisher:
            serving = asyncio.create_task(serve(own, rules, stop))
            await subscribed(client)
            await publish(publisher, [30.0])
            await shows(lambda: b"GREEN" in chip.lcd.codes()[0] and b"30C" in chip.lcd.codes()[3])
            await shows(lambda: pins.pin(17).state)
            await publish(publisher, [65.0, 65.0, 65.0], first=1)
            raised = await wait(client, ALARM, lambda a: a.state == "unacknowledged_active")
            await shows(lambda: pins.pin(22).state and pins.pin(18).state)
            await shows(lambda: bytes([0xFF, 4, 0xFF]) in chip.lcd.codes()[0])  # the upper half of a large H
            await asyncio.sleep(0.35)  # for a person to see it: desk.REACTION_S
            pins.pin(23).drive_low()
            await asyncio.sleep(0.2)  # a short press
            pins.pin(23).drive_high()
            seen = await wait(client, ALARM, lambda a: a.acknowledged)
            assert (seen.state, seen.occurrence) == ("acknowledged_active", raised.occurrence)
            event = await wait(
                client, "emberwatch/v1/pi/pack-1/event/over_temperature", lambda e: e.type == "acknowledged"
            )
            assert event.by == "button@pi"
            await shows(lambda: any(b" ACK" in row for row in chip.lcd.codes()) and not pins.pin(18).state)
            stop.set()
            await serving
    assert b"stopped" in chip.lcd.codes()[0]
    pins.close()


async def test_a_display_that_is_pulled_is_an_alarm_and_the_rest_goes_on(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = Pcf8574()
    bus = I2cBus([chip])
    monkeypatch.setattr("smbus2.SMBus", lambda number: SMBus(bus))
    rules = shipped()
    failed = next(rule for rule in rules.watch if rule.kind == "output")
    quick = failed.model_copy(update={"at_least_s": 0.5})
    rules = replace(rules, watch=tuple(quick if rule is failed else rule for rule in rules.watch))
    without = AlertSettings(node="pi", broker_port=broker.port, data_dir=tmp_path, heartbeat_s=0.5)
    own = without.model_copy(update={"lcd": LcdSettings()})
    stop = asyncio.Event()
    with broker.client() as client:
        client.subscribe("emberwatch/v1/pi/#")
        serving = asyncio.create_task(serve(own, rules, stop))
        await subscribed(client)
        await asyncio.to_thread(eventually, lambda: b"GREEN" in chip.lcd.codes()[0])
        bus.unplug(0x27)
        alarm = await wait(client, ENDS, lambda a: a.active)
        assert (alarm.text, alarm.severity) == ("Output lcd: Remote I/O error", "medium")
        assert alarm.evidence.channel == "lcd"
        assert "output failed" in (tmp_path / "lcd.txt").read_text()
        chip.power_on()
        bus.plug(0x27)
        await wait(client, ENDS, lambda a: not a.active)
        await asyncio.to_thread(eventually, lambda: chip.lcd.on and any(c != 0x20 for c in chip.lcd.codes()[1]))
        bus.unplug(0x27)
        again = await wait(client, ENDS, lambda a: a.active and a.count == 2)
        stop.set()
        await serving
        stop.clear()  # the next run has no display: nobody waits for it for ever
        serving = asyncio.create_task(serve(without, rules, stop))
        await wait(client, ENDS, lambda a: not a.active and a.revision > again.revision)
        stop.set()
        await serving
