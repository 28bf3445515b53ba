"""The LEDs: green blinks as long as the alert service works; amber and red by the worst alarm.

Nothing blinks by itself: each change of the light is one turn of the service's own loop, so that a service that hangs
leaves a lamp that stands still.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gpiozero import LED

from services.alert.lcd import Led, View
from services.alert.outputs.worker import Driven

Lights = frozenset[str]
DARK: Final[Lights] = frozenset()
_COLOURS: Final[dict[Led, str]] = {"GREEN": "green", "AMBER": "amber", "RED": "red"}


def lights(view: View) -> Lights:
    """Which lights are on in this second: green, and what waits for an acknowledge, blink."""
    blinks = view.lamp == "GREEN" or any(not entry.acknowledged for entry in view.alarms)
    return DARK if blinks and view.second % 2 else frozenset({_COLOURS[view.lamp]})


class Leds:
    """A worker's device: three LEDs, or two of which both are amber.

    Args:
        pins: by colour.
        factory: gives gpiozero's pins.
    """

    def __init__(self, pins: Mapping[str, int], factory: Callable[[], Any]) -> None:
        self._pins, self._factory = pins, factory
        self._leds: dict[str, Any] = {}

    def open(self) -> None:
        factory = self._factory()
        for colour, pin in self._pins.items():
            self._leds[colour] = LED(pin, pin_factory=factory)

    def draw(self, state: Lights) -> None:
        if "amber" in state and "amber" not in self._leds:
            state = frozenset({"green", "red"})
        for colour, led in self._leds.items():
            led.value = colour in state

    def close(self) -> None:
        leds, self._leds = self._leds, {}
        for led in leds.values():
            led.off()  # a line that is only let go of may keep its level
            led.close()


class Lamp(Driven[Lights]):
    """Args: leds: the hardware."""

    def __init__(self, leds: Leds) -> None:
        super().__init__("lamp", leds)

    def show(self, view: View) -> None:
        self._worker.put(lights(view))
