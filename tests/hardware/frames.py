"""Take the pictures of the display in an alarm: `python -m tests.hardware.frames` writes docs/hardware/*.svg.

Nothing is drawn by hand: samples go through the engine with the shipped rules, its view through the display's output
and RPLCD, and the picture is what has arrived in the memories of the models of PCF8574 and HD44780.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.alert.display import view_of
from services.alert.engine import Engine, Now
from services.alert.lcd import PAGE_S
from services.alert.outputs.hd44780 import Hd44780 as Display
from services.alert.outputs.panel import panel
from services.bus.settings import ROOT
from tests.alert.builders import at, command, judge, sample, shipped
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.characters import picture
from tests.hardware.board.hd44780 import Hd44780
from tests.hardware.board.masters import SMBus
from tests.hardware.board.pcf8574 import Pcf8574

FOLDER: Final = ROOT / "docs" / "hardware"
CHANNELS: Final[dict[str, Any]] = {"voltage": 355.2, "current": -46.1, "soc": 0.61, "cell_spread": 0.024}


class Stage:
    """A node with one pack, second by second, and a photographer."""

    def __init__(self, columns: int, rows: int) -> None:
        self.engine = Engine("pi-cellar", shipped(), 0.0)
        self.size = columns, rows
        self.shots: list[tuple[str, Hd44780]] = []

    def run(self, first: int, temperatures: Sequence[float]) -> None:
        judge(self.engine, *(sample(t, temperature_max=v, **CHANNELS) for t, v in enumerate(temperatures, first)))

    def acknowledge(self, t: int) -> None:
        machine = self.engine.register.alarms["pack-1", "over_temperature"]["temperature_max"]
        ask = command("acknowledge", "over_temperature", occurrence=machine.occurrence)
        self.engine.command("pack-1", ask, self.now(t))

    def now(self, t: int) -> Now:
        return Now(float(t), at(t).timestamp())

    def shoot(self, caption: str, t: int, page: int = 0, question: Sequence[str] = ()) -> None:
        """A new display, so that nothing of an earlier picture can stand on it."""
        chip = Pcf8574(lcd=Hd44780(*self.size))
        display = Display(lambda: SMBus(I2cBus([chip])), chip.address, *self.size, lambda: 0.0)
        display.open()
        display.draw(panel(view_of(self.engine, self.now(t), page * PAGE_S, question), *self.size).picture)
        self.shots.append((caption, chip.lcd))


def large() -> str:
    """An alarm on 20x4."""
    stage = Stage(20, 4)
    stage.run(0, [31.0] * 4)
    stage.shoot("no alarm: the pack's readings, the mark at the upper right moves", 3)
    stage.run(4, [66.5] * 4)
    stage.shoot("a new alarm, for two metres: what, and how much", 7)
    stage.shoot("four seconds later, for who comes near: limit, device, state", 11, page=1)
    stage.run(8, [84.5] * 4)
    stage.shoot("it got worse: critical from 80 degC on", 12)
    stage.acknowledge(12)
    stage.shoot("acknowledged: details only", 13)
    stage.shoot("a phone wants to pair", 14, question=("Pair phone?", "Does it show 482913?", "press=yes  hold=no"))
    return picture(stage.shots)


def small() -> str:
    """The same alarm on 16x2."""
    stage = Stage(16, 2)
    stage.run(0, [31.0] * 4)
    stage.shoot("no alarm", 3)
    stage.run(4, [66.5] * 4)
    for page, caption in enumerate(("a new alarm: what", "how much", "details")):
        stage.shoot(caption, 7, page=page)
    return picture(stage.shots)


PICTURES: Final = {"lcd-20x4.svg": large, "lcd-16x2.svg": small}


def main(folder: Path = FOLDER) -> None:
    for name, draw in PICTURES.items():
        (folder / name).write_text(draw(), encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
