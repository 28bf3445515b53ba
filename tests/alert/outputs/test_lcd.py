"""The display: RPLCD, unmodified, on models of the two chips."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from services.alert.lcd import PAGE_S, View
from services.alert.outputs import worker
from services.alert.outputs.bigfont import PARTS
from services.alert.outputs.hd44780 import REFRESH_S, Hd44780
from services.alert.outputs.lcd import Lcd
from tests.alert.outputs.eventually import eventually
from tests.alert.test_lcd import READINGS, entry
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.masters import SMBus
from tests.hardware.board.pcf8574 import Pcf8574


class Bench:
    """A display on its bus, a clock, and the output under test."""

    def __init__(self) -> None:
        self.chip = Pcf8574()
        self.bus = I2cBus([self.chip])
        self.now = 0.0
        self.opened = 0
        self.device = Hd44780(self.connect, 0x27, 20, 4, lambda: self.now)
        self.lcd = Lcd(self.device, 20, 4, lambda: self.now)

    def connect(self) -> SMBus:
        self.opened += 1
        return SMBus(self.bus)

    def rows(self) -> list[bytes]:
        return self.chip.lcd.codes()

    def complete(self) -> bool:
        """The first picture is drawn to its end."""
        return len(self.lcd._pages.drawn) >= 2

    def shows(self, *texts: bytes) -> Callable[[], bool]:
        return lambda: all(any(text in row for row in self.rows()) for text in texts)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(worker, "RETRY_S", 0.02)
    bench = Bench()
    bench.lcd.open()
    yield bench
    bench.lcd.close()


def quiet(second: int = 0) -> View:
    return View([], [("pack-1", READINGS)], "08:15:02", second)


HOT = entry(word="HOT")


def alarm(t: float = PAGE_S) -> View:
    return View([HOT], [("pack-1", READINGS)], "08:15:02", int(t), t)


def test_the_readings_are_on_the_display(bench: Bench) -> None:
    bench.lcd.show(quiet())
    eventually(bench.shows(b"GREEN OK     08:15 *", b"355.2V -46.1A", b"31C 61% d24mV"))
    assert bench.lcd.fault is None
    assert bench.chip.lit
    assert not bench.chip.lcd.cursor
    own = [tuple(bench.chip.lcd.cgram[i * 8 : i * 8 + 8]) for i in range(8)]
    assert own == list(PARTS)


def test_only_what_has_changed_is_written(bench: Bench) -> None:
    bench.lcd.show(quiet(0))
    eventually(bench.complete)
    before = bench.chip.lcd.written
    bench.lcd.show(quiet(1))
    eventually(bench.shows(b"08:15 +"))
    assert bench.chip.lcd.written == before + 1, "one mark, and no clearing"


def test_a_display_that_was_unplugged_shows_what_is_new_when_it_is_back(bench: Bench) -> None:
    bench.lcd.show(quiet())
    eventually(bench.shows(b"GREEN"))
    bench.bus.unplug(0x27)
    bench.lcd.show(quiet(1))
    eventually(lambda: bench.lcd.fault == "Remote I/O error")
    bench.chip.power_on()
    assert not bench.shows(b"GREEN")()
    bench.lcd.show(alarm())
    bench.bus.plug(0x27)
    eventually(bench.shows(b"RED", b"over temperature"))
    eventually(lambda: bench.lcd.fault is None)


def test_a_power_cut_between_two_pictures_is_noticed(bench: Bench) -> None:
    bench.lcd.show(quiet())
    eventually(bench.complete)
    bench.chip.power_on()  # a loose wire: no transfer has failed
    bench.lcd.show(quiet())
    eventually(bench.shows(b"GREEN", b"355.2V"))
    assert bench.opened == 2


def test_a_display_that_is_not_there_at_start_costs_one_bus_an_attempt_and_comes_later(bench: Bench) -> None:
    bench.bus.unplug(0x27)
    closed: list[int] = []
    bench.device._connect = lambda: Counted(bench.bus, closed)
    bench.lcd.show(quiet())
    eventually(lambda: len(closed) >= 3)
    bench.bus.plug(0x27)
    eventually(bench.shows(b"GREEN"))


class Counted(SMBus):
    """Notes that it was closed."""

    def __init__(self, bus: I2cBus, closed: list[int]) -> None:
        super().__init__(bus)
        self._closed = closed

    def close(self) -> None:
        self._closed.append(1)


def test_half_a_byte_of_noise_is_mended_by_the_next_refresh(bench: Bench) -> None:
    bench.lcd.show(quiet())
    eventually(bench.complete)
    bench.chip.lcd.latch(0x4, False)
    bench.lcd.show(quiet(1))
    eventually(lambda: not bench.shows(b"08:15 +")())
    bench.now += REFRESH_S
    bench.lcd.show(quiet(2))
    eventually(bench.shows(b"GREEN OK     08:15 -", b"355.2V -46.1A", b"31C 61% d24mV"))


def test_nothing_flickers_while_it_is_refreshed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.lcd.show(quiet())
    eventually(bench.complete)
    before, blank = bench.chip.lcd.written, []
    wrote = bench.chip.write

    def watched(data: bytes) -> bool:
        blank.append(not bench.shows(b"GREEN OK     08:15", b"31C 61% d24mV")())
        return wrote(data)

    monkeypatch.setattr(bench.chip, "write", watched)
    bench.now += REFRESH_S
    bench.lcd.show(quiet(1))
    eventually(lambda: bench.chip.lcd.written >= before + 80)
    assert not any(blank)


def test_a_bus_that_hangs_is_a_fault_and_delays_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HANG_S", 0.1)
    bench.bus.delay_s = 1.0
    bench.lcd.show(quiet())
    eventually(lambda: bench.lcd.fault == "it hangs")
    bench.bus.delay_s = 0.0
    bench.lcd.show(alarm())
    eventually(bench.shows(b"RED"))


def test_a_bus_held_low_is_a_fault(bench: Bench) -> None:
    bench.bus.held = True
    bench.lcd.show(quiet())
    eventually(lambda: bench.lcd.fault == "Connection timed out")
    bench.bus.held = False
    eventually(bench.shows(b"GREEN"))


def test_it_knows_which_alarm_a_person_saw_when(bench: Bench) -> None:
    assert bench.lcd.seen(0.0) is None
    bench.now = 1.0
    bench.lcd.show(alarm())
    eventually(lambda: bench.lcd.seen(1.0) is HOT)
    bench.now = 2.0
    other = entry(rule="cell_spread", occurrence="01B")
    bench.lcd.show(View([other], [], "08:15:02", 8, PAGE_S))
    eventually(lambda: bench.lcd.seen(2.0) is other)
    assert bench.lcd.seen(1.9) is HOT
    assert bench.lcd.seen(0.5) is None


def test_an_alarm_that_is_drawn_again_each_second_was_seen_all_the_time(bench: Bench) -> None:
    bench.lcd.show(alarm())
    eventually(lambda: bench.lcd.seen(0.0) is HOT)
    bench.bus.delay_s, bench.now, before = 0.5, 1.0, bench.bus.transfers
    bench.lcd.show(View([replace(HOT, value=70.5)], [("pack-1", READINGS)], "08:15:02", 5, PAGE_S + 1))
    eventually(lambda: bench.bus.transfers > before)
    assert bench.lcd.seen(1.0) is HOT, "a press while the next second is drawn acknowledges it"
    bench.bus.delay_s = 0.0


def test_at_the_end_it_says_that_nobody_drives_it(bench: Bench) -> None:
    bench.lcd.show(alarm())
    eventually(bench.shows(b"RED"))
    bench.lcd.close()
    assert [row.strip() for row in bench.rows()] == [b"stopped", b"", b"", b""]
