"""The life of one alarm: the states of ANSI/ISA-18.2-2016. Pure; time comes with each call.

Two things are kept apart: what is true (`active`, `latched`, `acknowledged`), and what hides it (`shelved`,
`suppressed`, `out_of_service`). A shelved alarm goes on underneath, unseen; while suppressed or out of service nothing
is raised, and what is true when that ends is raised then.
"""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Self

from services.alert.ulid import ulid
from services.bus.messages import SEVERITIES, AlarmState, EventType, Severity


@dataclass(frozen=True, slots=True)
class Raise:
    """What makes an alarm active. `time` [s since 1970] is that of the sample, which `boot` and `seq` name."""

    time: float
    boot: str
    seq: int
    severity: Severity
    text: str
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change that the world is told of."""

    type: EventType
    by: str | None = None
    reason: str | None = None


def worse(a: Severity, b: Severity) -> bool:
    return SEVERITIES.index(a) > SEVERITIES.index(b)


@dataclass(slots=True)
class Machine:
    """State of one alarm.

    Args:
        identity: node, device, rule, channel; goes into the occurrence id.
        latch: stays until reset; shelf_s: longest shelf [s], 0 = none.
    """

    identity: tuple[str, str, str, str]
    severity: Severity
    latch: bool = False
    shelf_s: float = 0.0
    active: bool = False
    acknowledged: bool = True
    latched: bool = False
    occurrence: str | None = None
    raised_at: float | None = None
    cleared_at: float | None = None
    count: int = 0
    text: str = ""
    evidence: dict[str, Any] | None = None
    shelved_until: float | None = None  # wall clock [s since 1970]
    shelf_left_s: float = 0.0  # the same by the steady clock: a wall clock set back must not prolong a shelf
    suppressed: bool = False
    out_of_service: bool = False
    waiting: Raise | None = None  # true while suppressed or out of service

    @property
    def state(self) -> AlarmState:
        if self.out_of_service:
            return "out_of_service"
        if self.suppressed:
            return "suppressed"
        if self.shelved_until is not None:
            return "shelved"
        if self.active:
            return "acknowledged_active" if self.acknowledged else "unacknowledged_active"
        if self.latched:
            return "latched_acknowledged" if self.acknowledged else "latched_unacknowledged"
        return "normal" if self.acknowledged else "rtn_unacknowledged"

    @property
    def annunciated(self) -> bool:
        """Shown on the display, the lamp and the phone."""
        return self.state not in ("normal", "shelved", "suppressed", "out_of_service")

    @property
    def _masked(self) -> bool:
        return self.suppressed or self.out_of_service

    # --- the condition ----------------------------------------------------------------------------------------------

    def condition_true(self, cause: Raise) -> list[Transition]:
        """The condition holds, or has got worse."""
        if self._masked:
            self.waiting = cause
            return []
        if self.active:
            if not worse(cause.severity, self.severity):
                return []
            self.severity, self.text, self.evidence = cause.severity, cause.text, cause.evidence
            self.acknowledged = False
            return [*self._unshelve("severity has risen"), Transition("escalated")]
        open_severity = self.severity if not self.acknowledged or self.latched else cause.severity
        self.active, self.acknowledged = True, False
        self.latched = self.latched or self.latch
        self.severity = open_severity if worse(open_severity, cause.severity) else cause.severity
        self.count += 1
        self.occurrence = ulid(
            datetime.fromtimestamp(cause.time, UTC), *self.identity, cause.boot, cause.seq, self.count
        )
        self.raised_at, self.cleared_at = cause.time, None
        self.text, self.evidence = cause.text, cause.evidence
        return [Transition("raised")]

    def condition_false(self, time: float) -> list[Transition]:
        """The condition is over."""
        self.waiting = None
        if not self.active:
            return []
        self.active, self.cleared_at = False, time
        return [Transition("cleared")]

    # --- commands: a refusal is a ValueError with its reason --------------------------------------------------------

    def acknowledge(self, by: str, reason: str | None = None) -> list[Transition]:
        if self.acknowledged:
            return []
        self.acknowledged = True
        return [Transition("acknowledged", by, reason)]

    def reset(self, by: str, reason: str | None = None) -> list[Transition]:
        """End a latched alarm whose condition is over and that was acknowledged."""
        if not self.latched:
            return []
        if self.active:
            raise ValueError("the condition is still true")
        if not self.acknowledged:
            raise ValueError("not acknowledged yet")
        self.latched = False
        return [Transition("reset", by, reason)]

    def shelve(self, until: float | None, now: float, by: str, reason: str | None) -> list[Transition]:
        """Hide the alarm until an absolute time (`until`, `now`: wall clock, s since 1970)."""
        if self.shelf_s <= 0:
            raise ValueError("this alarm cannot be shelved")
        if until is None or until <= now:
            raise ValueError("a shelf needs an end in the future (until)")
        if until - now > self.shelf_s:
            raise ValueError(f"a shelf may last {self.shelf_s:.0f} s at most")
        if not reason or not reason.strip():
            raise ValueError("a shelf needs a reason")
        self.shelved_until, self.shelf_left_s = until, until - now
        return [Transition("shelved", by, reason)]

    def unshelve(self, by: str | None, reason: str | None = None) -> list[Transition]:
        return self._unshelve(reason, by)

    def _unshelve(self, reason: str | None, by: str | None = None) -> list[Transition]:
        if self.shelved_until is None:
            return []
        self.shelved_until, self.shelf_left_s = None, 0.0
        return [Transition("unshelved", by, reason)]

    def tick(self, now: float, elapsed_s: float) -> list[Transition]:
        """End a shelf whose time is over, by the wall clock or by the steady one, whichever is first."""
        if self.shelved_until is None:
            return []
        self.shelf_left_s -= elapsed_s
        return self._unshelve("its time is over") if now >= self.shelved_until or self.shelf_left_s <= 0 else []

    def remove_from_service(self, by: str, reason: str | None) -> list[Transition]:
        if self.out_of_service:
            return []
        if self.latch and (self.active or self.latched):
            raise ValueError("a latched alarm stays in service until it is reset")
        self.out_of_service = True
        self._mask()
        return [Transition("out_of_service", by, reason)]

    def return_to_service(self, by: str, reason: str | None = None) -> list[Transition]:
        if not self.out_of_service:
            return []
        self.out_of_service = False
        return [Transition("in_service", by, reason), *self._unmask()]

    def suppress(self, reason: str) -> list[Transition]:
        """By design: other facts say that this condition means nothing now."""
        if self.suppressed:
            return []
        self.suppressed = True
        self._mask()
        return [Transition("suppressed", None, reason)]

    def unsuppress(self) -> list[Transition]:
        if not self.suppressed:
            return []
        self.suppressed = False
        return [Transition("unsuppressed"), *self._unmask()]

    def _mask(self) -> None:
        if self.active and self.raised_at is not None and self.waiting is None:
            sample = (self.evidence or {}).get("sample") or {"boot": "", "seq": 0}
            self.waiting = Raise(
                self.raised_at, sample["boot"], sample["seq"], self.severity, self.text, self.evidence or {}
            )
        self.active, self.acknowledged = False, True

    def _unmask(self) -> list[Transition]:
        if self._masked or self.waiting is None:
            return []
        cause, self.waiting = self.waiting, None
        return self.condition_true(cause)

    # --- restart ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _FIXED} | {
            "waiting": asdict(self.waiting) if self.waiting else None
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any], identity: tuple[str, str, str, str], latch: bool, shelf_s: float) -> Self:
        waiting = Raise(**state["waiting"]) if state.get("waiting") else None
        known = {f.name for f in fields(cls)} - _FIXED
        return cls(
            identity,
            latch=latch,
            shelf_s=shelf_s,
            **{k: v for k, v in state.items() if k in known} | {"waiting": waiting},
        )


_FIXED = frozenset({"identity", "latch", "shelf_s"})
