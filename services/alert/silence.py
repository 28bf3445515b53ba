"""Silence of a service, a device or a node, by the receiver's steady clock. Pure: time comes with each call."""

from dataclasses import dataclass


@dataclass(slots=True)
class Silence:
    """Nothing was heard for `limit_s`, or the Last Will of the current session came.

    Args:
        limit_s: longest pause that is normal.
        start_delay_s: patience with one that has not been heard since `started` (everything starts at once).
        started: when watching began, receiver's clock [s].
    """

    limit_s: float
    start_delay_s: float
    started: float
    last: float | None = None
    session: str | None = None
    offline: bool = False

    def heard(self, now: float, session: str | None = None) -> None:
        """A message or a heartbeat came."""
        self.last, self.offline = now, False
        self.session = session or self.session

    def introduce(self, session: str) -> None:
        """An `online` of unknown age: its will counts from now on, but it is no sign of life."""
        self.session = session

    def will(self, session: str) -> bool:
        """A Last Will came. Returns False, and ignores it, when it names another session than the current one."""
        if self.session is not None and session != self.session:
            return False
        if self.session is not None and self.last is None:  # it was online when we came, and is not now
            self.last = self.started
        self.offline = True
        return True

    def resume(self, now: float) -> None:
        """We were cut off ourselves until `now`: what was not heard meanwhile says nothing."""
        if self.last is not None and not self.offline:
            self.last = max(self.last, now)
        self.started = max(self.started, now - self.start_delay_s + self.limit_s)

    def update(self, now: float) -> bool | None:
        """Whether it is silent; None while that cannot be said yet."""
        if self.last is None:  # not heard since we watch: an offline message may be of an earlier run
            return True if now - self.started > max(self.start_delay_s, self.limit_s) else None
        return self.offline or now - self.last > self.limit_s

    def age(self, now: float) -> float:
        """Time since it was heard, or since we watch [s]."""
        return now - (self.started if self.last is None else self.last)
