"""On-delay and off-delay of an alarm condition. Pure: time comes with each call."""

from dataclasses import dataclass


@dataclass(slots=True)
class Delay:
    """Active once `beyond` has lasted `on_delay_s`; clear once it has been over for `off_delay_s`.

    `None` for beyond is the deadband: it neither starts nor ends anything.
    Source: ANSI/ISA-18.2-2016, alarm attributes (on-delay, off-delay).
    """

    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    active: bool = False
    since: float | None = None  # start of the running delay, by the samples' clock [s]

    def update(self, t: float, beyond: bool | None) -> bool:
        """Take one sample at `t` [s]; return whether active."""
        if beyond is None:
            if self.active:
                self.since = None  # back in the deadband: the clearing starts anew
        elif beyond == self.active:
            self.since = None
        else:
            self.since = t if self.since is None else self.since
            if t - self.since >= (self.on_delay_s if beyond else self.off_delay_s):
                self.active, self.since = beyond, None
        if not self.active and beyond is None and self.since is not None and t - self.since >= self.on_delay_s:
            self.active, self.since = True, None
        return self.active

    def force(self) -> None:
        """Active at once, without the on-delay."""
        self.active, self.since = True, None

    def pause(self) -> None:
        """Nobody looked: a running delay starts anew, the state stays."""
        self.since = None

    def to_list(self) -> list[bool | float | None]:
        return [self.active, self.since]

    def restore(self, state: list[bool | float | None]) -> None:
        self.active = bool(state[0])
        self.since = None if state[1] is None else float(state[1])
