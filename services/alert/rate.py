"""Rate of rise. Pure."""

from collections import deque
from dataclasses import dataclass, field

from services.alert.delay import Delay
from services.alert.suspect import Trust


@dataclass(slots=True)
class Rate:
    """Rate-of-rise condition over a sliding window.

    A suspect reading is set aside until the next one: two suspect ones in a row are taken as true (a fast runaway looks
    like that), a good one decides for itself, a fault says nothing about a rate (a limit rule covers the dying probe).

    Args:
        rise_per_s: active at or above this, unit of the channel per second (e.g. 1.0 K/s).
        window_s: over how long the rise is taken; of slower sampling, from one sample to the next.
        deadband: clears below `rise_per_s - deadband`.
    """

    rise_per_s: float
    window_s: float
    deadband: float = 0.0
    delay: Delay = field(default_factory=Delay)
    rate: float = 0.0
    _readings: deque[tuple[float, float]] = field(default_factory=deque)
    _aside: tuple[float, float] | None = None

    def update(self, t: float, value: float | None, kind: Trust) -> bool:
        """Take one reading at `t` [s]; return whether active."""
        if kind is Trust.MISSING or value is None:
            self._aside = None
            return self.delay.active
        if kind is Trust.SUSPECT:
            aside, self._aside = self._aside, (t, value)
            if aside is None:
                return self.delay.active
            if not self._readings or aside[0] > self._readings[-1][0]:
                self._take(*aside)
        else:
            self._aside = None
        return self._take(t, value)

    def _take(self, t: float, value: float) -> bool:
        readings = self._readings
        if readings and t <= readings[-1][0]:
            return self.delay.active  # two readings of one moment have no rate
        readings.append((t, value))
        while len(readings) > 2 and readings[1][0] <= t - self.window_s:
            readings.popleft()
        if len(readings) < 2 or t - readings[0][0] < self.window_s:
            return self.delay.active  # the window is not full yet
        self.rate = (value - readings[0][1]) / (t - readings[0][0])
        if self.rate >= self.rise_per_s and self.delay.since is None and not self.delay.active:
            step = t - readings[-2][0]
            self.delay.update(t - step if step > self.window_s else t, True)  # slow sampling: it lasted the whole step
        beyond = True if self.rate >= self.rise_per_s else (False if self.rate < self._off else None)
        return self.delay.update(t, beyond)

    @property
    def _off(self) -> float:
        return self.rise_per_s - self.deadband

    def pause(self) -> None:
        """The clock of the samples starts anew."""
        self._readings.clear()
        self._aside = None
        self.delay.pause()

    def to_list(self) -> list[object]:
        return [self.delay.to_list(), list(map(list, self._readings)), self._aside, self.rate]

    def restore(self, state: list[object]) -> None:
        delay, readings, aside, rate = state
        self.delay.restore(delay)  # type: ignore[arg-type]
        self._readings = deque((float(t), float(v)) for t, v in readings)  # type: ignore[attr-defined]
        self._aside = None if aside is None else (float(aside[0]), float(aside[1]))  # type: ignore[index]
        self.rate = float(rate)  # type: ignore[arg-type]
