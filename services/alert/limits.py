"""High and low limits. No MQTT, no clock, no I/O: the same samples always give the same alarms."""

from dataclasses import dataclass, field

from services.alert.delay import Delay


@dataclass(slots=True)
class Limit:
    """High- or low-limit alarm condition with deadband and delays (ISA-18.2 terms).

    Args:
        setpoint: active at or beyond this, in the channel's unit (e.g. 60.0 degC).
        low: the limit is a lower one.
        deadband: clears only on the good side of `setpoint` by more than this, same unit, >= 0.
        delay: how long the value must stay beyond (or back) before the state changes.
        escalation: a second setpoint, further out; beyond it `level` is 1.
    Source: ANSI/ISA-18.2-2016, alarm attributes (setpoint, deadband, on-delay, off-delay).
    """

    setpoint: float
    low: bool = False
    deadband: float = 0.0
    delay: Delay = field(default_factory=Delay)
    escalation: float | None = None
    level: int = 0
    _sign: float = 1.0
    _on: float = 0.0
    _off: float = 0.0

    def __post_init__(self) -> None:
        self._sign = -1.0 if self.low else 1.0
        self._on = self._sign * self.setpoint
        self._off = self._on - self.deadband

    @property
    def idle(self) -> bool:
        """Nothing is active and no delay runs: a value that is not beyond changes nothing."""
        return not self.delay.active and self.delay.since is None

    def beyond(self, value: float) -> bool | None:
        """Whether `value` is beyond the setpoint; None inside the deadband."""
        value *= self._sign
        return True if value >= self._on else (False if value < self._off else None)

    def update(self, t: float, value: float) -> bool:
        """Take one trusted value at `t` [s]; return whether active."""
        active = self.delay.update(t, self.beyond(value))
        if active:
            self._raise_level(value)
        else:
            self.level = 0
        return active

    def confirm(self, value: float) -> bool:
        """A suspect value beyond the limit was confirmed: active without on-delay."""
        self.delay.force()
        self._raise_level(value)
        return True

    def _raise_level(self, value: float) -> None:
        if self.escalation is not None and self._sign * value >= self._sign * self.escalation:
            self.level = 1

    @property
    def current(self) -> float:
        """The setpoint that holds at the present level."""
        return self.escalation if self.level and self.escalation is not None else self.setpoint
