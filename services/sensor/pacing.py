"""When the next row of a recording is due, and how far ahead of its readers it may run. Pure."""

from dataclasses import dataclass, field
from typing import Final

STALE_S: Final = 35.0  # a consumer not heard of for this long is not waited for
GAP_PERIODS: Final = 2.0  # a longer pause of the recording (a parked car) is shortened: it is no silence of the sensor


@dataclass(slots=True)
class Schedule:
    """Due times of a recording's rows.

    Args:
        speed: times faster than recorded; inf = as fast as the readers take it.
        period_s: the recording's usual step [s]; pauses are shortened to a few of them, at every speed alike.
    """

    speed: float
    period_s: float
    _mono: float | None = None
    _due: float = 0.0

    def due(self, mono: float, now: float) -> float:
        """The steady-clock time at which the row recorded at `mono` [s] is due."""
        if self._mono is None:
            self._due = now
        else:
            step = min(max(mono - self._mono, 0.0), GAP_PERIODS * self.period_s)
            self._due += step / self.speed
        self._mono = mono
        return self._due


@dataclass(slots=True)
class _Consumer:
    position: int = -1
    heard_at: float = 0.0
    online: bool = True


@dataclass(slots=True)
class Pacer:
    """Holds a recording back so that no reader's queue at a broker can overflow.

    Args:
        lead: rows that may be published and not yet worked off.
    """

    lead: int = 4000
    _consumers: dict[str, _Consumer] = field(default_factory=dict)

    def heard(self, consumer: str, position: int | None, now: float, *, online: bool = True) -> None:
        """A consumer has worked off everything up to `position` (None: it says nothing of this stream)."""
        known = self._consumers.setdefault(consumer, _Consumer())
        known.heard_at, known.online = now, online
        if position is not None:
            known.position = max(known.position, position)

    def begin_again(self) -> None:
        """The rows are counted from 0 again: no consumer has any of them."""
        for consumer in self._consumers.values():
            consumer.position = -1

    def may_publish(self, seq: int, now: float) -> bool:
        return all(
            seq - c.position <= self.lead or not c.online or now - c.heard_at > STALE_S
            for c in self._consumers.values()
        )
