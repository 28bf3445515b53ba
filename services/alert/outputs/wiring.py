"""From settings to outputs. Drivers are imported only where they are asked for: a server needs none of them."""

import importlib.util
import time
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from services.alert.desk import Desk
from services.alert.outputs.console import Console
from services.alert.outputs.output import Output
from services.alert.settings import AlertSettings
from services.bus.client import package_version
from services.bus.clock import set_from_peer
from services.bus.errors import ConfigError

_DEVICE_TREE: Final = Path("/proc/device-tree/model")
_NEEDS: Final = {
    "lcd": ("RPLCD", "smbus2"),
    "lamp": ("gpiozero", "lgpio"),
    "buzzer": ("gpiozero", "lgpio"),
    "button": ("gpiozero", "lgpio"),
    "bluetooth": ("dbus_fast",),
}


def wire(settings: AlertSettings, desk: Desk) -> list[Output]:
    """The outputs that the settings name. Hardware is not touched yet: what is missing shows as the output's fault.

    Raises:
        ConfigError: an output is set whose driver is not installed.
    """
    for key in _NEEDS:
        if getattr(settings, key) is not None:
            _check(key)
    outputs: list[Output] = [Console(settings.display_file or settings.data_dir / "lcd.txt")]
    if settings.lcd is not None:
        outputs.append(_lcd(settings, desk))
    if settings.lamp is not None or settings.buzzer is not None or settings.button is not None:
        outputs += _lines(settings, desk)
    if settings.bluetooth is not None:
        outputs.append(_bluetooth(settings, desk))
    return outputs


def _check(key: str) -> None:
    for module in _NEEDS[key]:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                "alert", key, f"needs {module}: pip install 'emberwatch[pi]', on a Pi deploy/pi/install.sh"
            )


def _lcd(settings: AlertSettings, desk: Desk) -> Output:
    from smbus2 import SMBus

    from services.alert.outputs.hd44780 import Hd44780
    from services.alert.outputs.lcd import Lcd

    assert settings.lcd is not None
    lcd = settings.lcd
    display = Hd44780(partial(SMBus, lcd.bus), lcd.address, lcd.columns, lcd.rows, time.monotonic)
    output = Lcd(display, lcd.columns, lcd.rows, time.monotonic)
    desk.screen = output
    return output


def _lines(settings: AlertSettings, desk: Desk) -> list[Output]:
    from services.alert.outputs.button import Button
    from services.alert.outputs.buzzer import Buzzer, Sounder
    from services.alert.outputs.gpio import lgpio_factory
    from services.alert.outputs.lamp import Lamp, Leds

    @cache
    def factory() -> Any:
        return lgpio_factory(settings.gpio_chip)

    outputs: list[Output] = []
    if settings.lamp is not None:
        outputs.append(Lamp(Leds(settings.lamp.pins(), factory)))
    if settings.buzzer is not None:
        buzzer = settings.buzzer
        outputs.append(Buzzer(Sounder(buzzer.pin, buzzer.active_high, factory, time.monotonic)))
    if settings.button is not None:
        button = settings.button
        outputs.append(Button(button.pin, button.pull_up, factory, desk, time.monotonic))
    return outputs


def _bluetooth(settings: AlertSettings, desk: Desk) -> Output:
    from services.alert.outputs.ble.attributes import Node
    from services.alert.outputs.ble.bluetooth import Bluetooth

    assert settings.bluetooth is not None
    secure = settings.lcd is not None and settings.button is not None
    desk.asks_to_pair = secure
    node = Node(settings.own_node, _model(), package_version(), secure)
    return Bluetooth(settings.bluetooth, node, desk, set_from_peer if settings.bluetooth.set_clock else None)


def _model() -> str:
    """What computer this is."""
    try:
        return _DEVICE_TREE.read_text().strip("\0\n ")
    except OSError:
        return "Linux"
