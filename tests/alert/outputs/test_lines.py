"""Lamp, buzzer and button: gpiozero on pins that a test holds in its hand (gpiozero's own mock of a pin, the lowest
level that there is without a kernel's gpiochip; the virtual Pi has one)."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from services.alert.desk import Desk
from services.alert.lcd import View
from services.alert.outputs import button as button_module
from services.alert.outputs import worker
from services.alert.outputs.button import Button
from services.alert.outputs.buzzer import PATTERNS, Buzzer, Pattern, Sounder, pattern
from services.alert.outputs.lamp import Lamp, Leds
from tests.alert.outputs.eventually import eventually
from tests.alert.test_lcd import entry

GREEN, AMBER, RED, SOUND, PRESS = 17, 27, 22, 18, 23


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.close()


def view(*alarms: Any, second: int = 0, silenced: bool = False) -> View:
    return View(alarms, [], "08:15:02", second, silenced=silenced)


SEEN = {"state": "acknowledged_active", "acknowledged": True}


class TestLamp:
    @pytest.fixture
    def lamp(self, pins: MockFactory) -> Iterator[Lamp]:
        lamp = Lamp(Leds({"green": GREEN, "amber": AMBER, "red": RED}, lambda: pins))
        lamp.open()
        yield lamp
        lamp.close()

    def lit(self, pins: MockFactory) -> set[int]:
        return {number for number in (GREEN, AMBER, RED) if pins.pin(number).state}

    def shows(self, pins: MockFactory, lit: set[int]) -> bool:
        return self.lit(pins) == lit

    def test_green_blinks_with_each_second_that_the_service_shows(self, lamp: Lamp, pins: MockFactory) -> None:
        for second, lit in ((0, {GREEN}), (1, set()), (2, {GREEN})):
            lamp.show(view(second=second))
            eventually(partial(self.shows, pins, lit))

    @pytest.mark.parametrize(
        ("severity", "light"), [("low", AMBER), ("medium", AMBER), ("high", RED), ("critical", RED)]
    )
    def test_the_worst_alarm_decides_the_colour(self, lamp: Lamp, pins: MockFactory, severity: str, light: int) -> None:
        lamp.show(view(entry(severity=severity), entry(severity="low")))
        eventually(lambda: self.lit(pins) == {light})

    def test_what_was_acknowledged_stands_still(self, lamp: Lamp, pins: MockFactory) -> None:
        lamp.show(view(entry(), second=1))
        eventually(lambda: self.lit(pins) == set())
        lamp.show(view(entry(**SEEN), second=1))
        eventually(lambda: self.lit(pins) == {RED})

    def test_without_an_amber_led_both_others_are_amber(self, pins: MockFactory) -> None:
        lamp = Lamp(Leds({"green": GREEN, "red": RED}, lambda: pins))
        lamp.open()
        lamp.show(view(entry(severity="low")))
        eventually(lambda: self.lit(pins) == {GREEN, RED})
        lamp.close()

    def test_at_the_end_it_is_dark(self, lamp: Lamp, pins: MockFactory) -> None:
        lamp.show(view(entry()))
        eventually(lambda: self.lit(pins) == {RED})
        lamp.close()
        assert self.lit(pins) == set()

    def test_a_chip_that_is_not_there_is_a_fault_until_it_is(
        self, pins: MockFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker, "RETRY_S", 0.02)
        there = threading.Event()

        def factory() -> MockFactory:
            if not there.is_set():
                raise OSError("/dev/gpiochip4: can not open gpiochip")
            return pins

        lamp = Lamp(Leds({"green": GREEN, "red": RED}, factory))
        lamp.open()
        lamp.show(view())
        eventually(lambda: lamp.fault == "/dev/gpiochip4: can not open gpiochip")
        there.set()
        eventually(lambda: self.lit(pins) == {GREEN})
        assert lamp.fault is None
        lamp.close()


class TestBuzzer:
    def sounds(self, pins: MockFactory, sounds: bool) -> bool:
        return bool(pins.pin(SOUND).state) is sounds

    def test_it_sounds_for_what_nobody_has_acknowledged(self) -> None:
        assert pattern(view()) is None
        assert pattern(view(entry(severity="medium"), entry(severity="low"))) == PATTERNS["medium"]
        assert pattern(view(entry(severity="critical", **SEEN), entry(severity="low"))) == PATTERNS["low"]
        assert pattern(view(entry(state="rtn_unacknowledged"))) is None
        assert pattern(view(entry(state="latched_unacknowledged"))) == PATTERNS["critical"]
        assert pattern(view(entry(), silenced=True)) is None

    def test_a_pattern_begins_with_a_sound_and_repeats(self) -> None:
        beep = Pattern((0.2, 0.3, 0.2), 1.0)
        assert beep.at(0.0) == (True, 0.2)
        for t, sounds, left in ((0.25, False, 0.25), (0.8, False, 0.9), (1.75, True, 0.15)):
            assert beep.at(t)[0] is sounds
            assert beep.at(t)[1] == pytest.approx(left)

    def test_what_is_worse_is_heard_more(self) -> None:
        def share(p: Pattern) -> float:
            return sum(p.burst[::2]) / (sum(p.burst) + p.pause_s)

        shares = [share(PATTERNS[s]) for s in ("low", "medium", "high", "critical")]
        assert shares == sorted(shares)
        assert len(set(shares)) == 4

    def test_the_pattern_is_played_on_the_line(self, pins: MockFactory) -> None:
        now = [100.0]
        sounder = Sounder(SOUND, True, lambda: pins, lambda: now[0])
        sounder.open()
        heard = []
        for _ in range(6):
            left = sounder.draw(PATTERNS["high"])
            assert left is not None
            heard.append((bool(pins.pin(SOUND).state), round(left, 3)))
            now[0] += left
        assert heard == [(True, 0.2), (False, 0.2), (True, 0.2), (False, 0.2), (True, 0.2), (False, 5.0)]
        assert sounder.draw(None) is None
        assert not pins.pin(SOUND).state
        sounder.close()

    def test_a_new_state_each_second_does_not_begin_the_pattern_anew(self, pins: MockFactory) -> None:
        now = [0.0]
        sounder = Sounder(SOUND, True, lambda: pins, lambda: now[0])
        sounder.open()
        sounder.draw(PATTERNS["high"])
        now[0] = 1.5
        assert sounder.draw(PATTERNS["high"]) == pytest.approx(4.5)
        sounder.close()

    def test_the_thread_plays_it_and_silence_ends_it(self, pins: MockFactory) -> None:
        buzzer = Buzzer(Sounder(SOUND, True, lambda: pins, time.monotonic))
        buzzer.open()
        buzzer.show(view(entry()))
        for sounds in (True, False, True):
            eventually(partial(self.sounds, pins, sounds))
        buzzer.show(view(entry(), silenced=True))
        eventually(lambda: not pins.pin(SOUND).state)
        buzzer.close()


class Watched(Desk):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("pi")
        self.told: list[str] = []
        self.button: Button | None = None

    async def down(self, pin: Any, down: bool) -> None:
        """Press or let go; the button has noticed."""
        (pin.drive_low if down else pin.drive_high)()
        await until(lambda: self.button is not None and self.button._pressed is down)

    def press(self, now: float) -> None:
        self.told.append("press")

    def hold(self, now: float) -> None:
        self.told.append("hold")

    def hold_longer(self) -> None:
        self.told.append("longer")


class TestButton:
    @pytest.fixture
    async def desk(self, pins: MockFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
        monkeypatch.setattr(button_module, "HOLD_S", 0.5)
        monkeypatch.setattr(button_module, "DRILL_S", 0.8)
        desk = Watched()
        desk.button = button = Button(PRESS, True, lambda: pins, desk, asyncio.get_running_loop().time)
        button.open()
        await until(lambda: pins.pin(PRESS).pull == "up" and button._line is not None)
        yield desk
        button.close()

    async def test_short_long_and_very_long(self, desk: Watched, pins: MockFactory) -> None:
        pin = pins.pin(PRESS)
        await desk.down(pin, True)
        assert desk.told == [], "it is decided at the release"
        await desk.down(pin, False)
        await until(lambda: desk.told == ["press"])
        await desk.down(pin, True)
        await until(lambda: desk.told == ["press", "hold"])
        await desk.down(pin, False)
        await asyncio.sleep(0.6)
        assert desk.told == ["press", "hold"], "a hold is no press"
        await desk.down(pin, True)
        await until(lambda: desk.told[2:] == ["hold", "longer"])
        await desk.down(pin, False)
        await desk.down(pin, True)
        await desk.down(pin, False)
        await until(lambda: desk.told[4:] == ["press"])

    async def test_what_bounces_is_one_press(
        self, desk: Watched, pins: MockFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(button_module, "HOLD_S", 60.0)
        pin = pins.pin(PRESS)
        for _ in range(2):
            end = time.monotonic() + 0.005
            while time.monotonic() < end:
                pin.drive_low()
                pin.drive_high()
            await desk.down(pin, True)
            await desk.down(pin, False)
        await until(lambda: desk.told == ["press", "press"])

    async def test_nothing_waits_for_edges(self, desk: Watched, pins: MockFactory) -> None:
        """lgpio's thread for them wakes two thousand times a second."""
        assert pins.pin(PRESS).when_changed is None


async def test_a_button_that_is_down_when_it_starts_was_not_pressed(pins: MockFactory) -> None:
    pins.pin(PRESS).drive_low()
    desk = Watched()
    button = Button(PRESS, True, lambda: pins, desk, asyncio.get_running_loop().time)
    button.open()
    await until(lambda: button._line is not None)
    await asyncio.sleep(0.1)
    pins.pin(PRESS).drive_high()
    await asyncio.sleep(0.1)
    button.close()
    assert desk.told == []


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, condition)
