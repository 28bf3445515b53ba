"""The buzzer: a pattern by severity, as long as an alarm waits for an acknowledge and nobody has silenced it.

The patterns follow IEC 60601-1-8: ten pulses of two groups for what needs an answer at once, three for what needs one
soon, two for what wants to be known; the pauses between bursts are its as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gpiozero import Buzzer as Pin

from services.alert.lcd import View
from services.alert.outputs.worker import Driven
from services.bus.messages import SEVERITIES, Severity


@dataclass(frozen=True, slots=True)
class Pattern:
    """One burst: times of sound and pause in turn [s], then a pause until the next burst [s]."""

    burst: tuple[float, ...]
    pause_s: float

    def at(self, t: float) -> tuple[bool, float]:
        """Whether it sounds at `t` s after its beginning, and for how much longer that stays so [s]."""
        t %= sum(self.burst) + self.pause_s
        for i, length in enumerate(self.burst):
            if length - t > 0.001:  # rounding
                return i % 2 == 0, length - t
            t -= length
        return False, self.pause_s - t


_FIVE: Final = (0.15, 0.1, 0.15, 0.1, 0.15, 0.3, 0.15, 0.1, 0.15)
PATTERNS: Final[dict[Severity, Pattern]] = {
    "critical": Pattern((*_FIVE, 0.6, *_FIVE), 2.5),
    "high": Pattern((0.2, 0.2, 0.2, 0.2, 0.2), 5.0),
    "medium": Pattern((0.2, 0.3, 0.2), 15.0),
    "low": Pattern((0.2,), 30.0),
}


def pattern(view: View) -> Pattern | None:
    """What is to be heard; None = silence."""
    calling = [e.severity for e in view.alarms if e.sounds]
    return PATTERNS[max(calling, key=SEVERITIES.index)] if calling and not view.silenced else None


class Sounder:
    """A worker's device: one line that makes a sound.

    Args:
        clock: steady [s].
    """

    def __init__(self, pin: int, active_high: bool, factory: Callable[[], Any], clock: Callable[[], float]) -> None:
        self._pin, self._active_high, self._factory, self._clock = pin, active_high, factory, clock
        self._line: Any = None
        self._playing: Pattern | None = None
        self._began = 0.0

    def open(self) -> None:
        self._line = Pin(self._pin, active_high=self._active_high, pin_factory=self._factory())
        self._playing = None

    def draw(self, state: Pattern | None) -> float | None:
        now = self._clock()
        if state != self._playing:
            self._playing, self._began = state, now
        sounds, left = state.at(now - self._began) if state is not None else (False, None)
        self._line.value = sounds
        return left

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.off()
            line.close()


class Buzzer(Driven[Pattern | None]):
    """Args: sounder: the hardware."""

    def __init__(self, sounder: Sounder) -> None:
        super().__init__("buzzer", sounder)

    def show(self, view: View) -> None:
        self._worker.put(pattern(view))
