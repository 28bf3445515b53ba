"""The push button: what was pressed how long goes to the desk, on the event loop.

The line is looked at fifty times a second. To be told of its edges costs two thousand wake-ups a second: as long as one
is waited for, a thread of lgpio looks each half millisecond (lgPthAlerts.c).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from gpiozero import InputDevice

from services.alert.desk import DRILL_S, HOLD_S, Desk
from services.alert.lcd import View
from services.alert.outputs.worker import Worker
from services.alert.register import Change

LOOK_S: Final = 0.02  # contacts of push buttons bounce for some milliseconds: two looks have to agree


class Button:
    """Args: factory: gives gpiozero's pins; clock: steady [s]."""

    name = "button"

    def __init__(
        self, pin: int, pull_up: bool, factory: Callable[[], Any], desk: Desk, clock: Callable[[], float]
    ) -> None:
        self._pin, self._pull_up, self._factory, self._desk, self._clock = pin, pull_up, factory, desk, clock
        self._line: Any = None
        self._pressed = self._last = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._held = False
        self._worker: Worker[None] = Worker(self.name, _Contact(self))

    @property
    def fault(self) -> str | None:
        return self._worker.fault

    @property
    def drawn(self) -> None:
        """It shows nothing."""
        return None

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker.start()
        self._worker.put(None)

    def show(self, view: View) -> None:
        """Nothing to show."""

    def changed(self, change: Change) -> None:
        """Nothing to show."""

    def close(self) -> None:
        self._release(act=False)
        self._worker.stop()

    # --- called by the worker's thread ------------------------------------------------------------------------------

    def connect(self) -> None:
        self._line = InputDevice(self._pin, pull_up=self._pull_up, pin_factory=self._factory())
        self._pressed = self._last = bool(self._line.value)  # one that is down from the beginning was not pressed

    def look(self) -> None:
        """Raises OSError when the line cannot be read any more."""
        now, before = bool(self._line.value), self._last
        self._last = now
        if now == before and now is not self._pressed:
            self._pressed = now
            self._call(self._press if now else self._release)

    def disconnect(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _call(self, action: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(action)

    # --- on the event loop ------------------------------------------------------------------------------------------

    def _press(self) -> None:
        assert self._loop is not None
        self._release(act=False)
        self._held = False
        self._timers = [
            self._loop.call_later(HOLD_S, self._hold),
            self._loop.call_later(DRILL_S, self._desk.hold_longer),
        ]

    def _hold(self) -> None:
        self._held = True
        self._desk.hold(self._clock())

    def _release(self, act: bool = True) -> None:
        timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()
        if timers and act and not self._held:
            self._desk.press(self._clock())


class _Contact:
    """The button's line as a worker's device."""

    def __init__(self, button: Button) -> None:
        self._button = button

    def open(self) -> None:
        self._button.connect()

    def draw(self, state: None) -> float:
        self._button.look()
        return LOOK_S

    def close(self) -> None:
        self._button.disconnect()
