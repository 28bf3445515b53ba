"""The bench of the system tests: a virtual Pi with sensors and a display, each chip at hand for the test to break."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from tests.hardware.board.ads1115 import Ads1115
from tests.hardware.board.bus import I2cBus
from tests.hardware.board.ds2482 import Ds2482
from tests.hardware.board.hd44780 import Hd44780
from tests.hardware.board.onewire import Ds18b20, OneWireBus
from tests.hardware.board.pcf8574 import Pcf8574
from tests.hardware.rig.machine import Init
from tests.hardware.rig.parts import BOOKWORM, Suite
from tests.hardware.rig.phone import until
from tests.hardware.rig.virtual_pi import VirtualPi


class Looks:
    """A clock that goes on by 5 ms when somebody looks at it: a converter of 128 samples a second is busy at the first
    look and ready at the second. By this computer's clock it could be ready before the machine has had time to look.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.005
        return self._now


class Bench:
    """Attributes:
    pi: the machine, its GPIO lines, its air.
    bus: with adc (0x48), display (0x27, 20x4) and the 1-Wire bridge (0x18).
    probes: DS18B20s `28-0000012345ab` and `28-0000012345cd`, on `wire`.
    """

    def __init__(
        self, place: Path, *, forward: Iterable[int] = (), init: Init = "plain", suite: Suite = BOOKWORM
    ) -> None:
        self.adc = Ads1115(0x48, clock=Looks())
        self.display = Pcf8574(0x27, Hd44780(20, 4))
        self.probes = [Ds18b20("0000012345ab", 21.5), Ds18b20("0000012345cd", -3.25)]
        self.wire = OneWireBus(self.probes)
        self.bus = I2cBus([self.adc, self.display, Ds2482(self.wire)])
        self.pi = VirtualPi(place, self.bus, bridges=[0x18], forward=forward, init=init, suite=suite)

    def __enter__(self) -> Self:
        self.pi.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.pi.__exit__(*exception)

    def wait(self, look: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Until it is so; on a busy computer longer. Raises TimeoutError with `what` and what the display shows."""
        try:
            until(look, timeout_s * self.pi.machine.patience, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.rows}") from None

    @property
    def rows(self) -> list[str]:
        """What the display shows."""
        return self.display.lcd.text()
