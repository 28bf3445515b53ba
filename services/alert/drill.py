"""A drill: a labelled test alarm through every output, and how long each took to answer. Pure.

It never hides a real alarm: it is refused while one waits for an acknowledge, sorted behind all others, and ended by a
new one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.alert.register import Change
from services.alert.rules import DrillRule

BROKER: Final = "broker"
SERVER: Final = "server"


@dataclass(slots=True)
class Drill:
    """One drill under way. Times are the receiver's steady clock [s].

    Args:
        rule: how long it lasts.
        by: who asked for it.
        began: when it was raised.
        hops: output, broker, server -> seconds until it answered; None = not yet.
        heard_server: False = no server has ever confirmed anything to this process: its silence is no fault.
    """

    rule: DrillRule
    by: str
    began: float
    hops: dict[str, float | None]
    heard_server: bool = True
    faults: dict[str, str] = field(default_factory=dict)

    def answered(self, hop: str, at: float) -> None:
        """A hop did its part at `at`; only the first time counts."""
        if hop in self.hops and self.hops[hop] is None:
            self.hops[hop] = max(at - self.began, 0.0)

    def drawn(self, hop: str, drawn: Iterable[tuple[float, float]]) -> None:
        """(given, done) of what an output has shown: the first picture that was given since the drill began counts."""
        done = [end for given, end in drawn if given >= self.began]
        if done:
            self.answered(hop, done[0])

    def over(self, now: float) -> bool:
        age = now - self.began
        return age >= self.rule.at_most_s or (age >= self.rule.at_least_s and None not in self.hops.values())

    @property
    def failed(self) -> list[str]:
        """Hops that did not answer."""
        silent = [hop for hop, took in self.hops.items() if took is None]
        return [hop for hop in silent if hop != SERVER or self.heard_server]

    def report(self) -> str:
        """`console 0.01 s, lcd 0.31 s; no answer: lamp (it hangs)`"""
        took = ", ".join(f"{hop} {s:.2f} s" for hop, s in self.hops.items() if s is not None)
        silent = ", ".join(f"{hop} ({self.faults[hop]})" if hop in self.faults else hop for hop in self.failed)
        none = "; no server" if self.hops.get(SERVER) is None and not self.heard_server else ""
        return f"{took}; no answer: {silent}{none}" if silent else f"{took}{none}"

    def record(self, time: str) -> dict[str, Any]:
        """For the log of drills."""
        return {"ts": time, "by": self.by, "hops_s": self.hops, "no_answer": self.failed, "faults": self.faults}


def interrupts(changes: Sequence[Change], drills: Iterable[str]) -> bool:
    """Whether a real alarm came: a drill must not stand beside it."""
    names = set(drills)
    return any(c.type in ("raised", "escalated") and c.rule not in names for c in changes)
