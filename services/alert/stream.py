"""The rules of one device's telemetry stream, by the samples' own clock. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from services.alert.missing import silence_limit
from services.alert.rules import LimitRule, MissingRule, RateRule, Rule, SpreadRule
from services.alert.watch import Finding, LimitWatch, MissingWatch, RateWatch, SpreadWatch, Watch
from services.bus.messages import Layout, Sample, Values

DEFAULT_PERIOD_S: Final = 1.0  # until the layout comes


def make_watch(rule: Rule, period_s: float, expected: dict[str, bool]) -> Watch | None:
    """The watch of a telemetry rule; None of a rule that judges something else."""
    if isinstance(rule, LimitRule):
        return LimitWatch(rule, period_s, silence_limit(period_s))
    if isinstance(rule, SpreadRule):
        return SpreadWatch(rule, period_s, silence_limit(period_s))
    if isinstance(rule, RateRule):
        return RateWatch(rule)
    if isinstance(rule, MissingRule):
        return MissingWatch(rule, period_s, expected)
    return None


class Stream:
    """Judges samples in order.

    Args:
        rules: those of the stream's profile.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self.period_s = DEFAULT_PERIOD_S
        self.layout: Layout | None = None
        self.last: Sample | None = None
        self._mono = float("-inf")
        self._boot = ""
        self.out_of_order = 0
        self._watches: dict[str, Watch] = {}
        self._build({})

    def _build(self, states: dict[str, Any]) -> None:
        expected = {c.name: c.length is not None for c in self.layout.channels} if self.layout else {}
        made = ((rule, make_watch(rule, self.period_s, expected)) for rule in self._rules)
        self._watches = {rule.name: watch for rule, watch in made if watch is not None}
        for name, state in states.items():
            if name in self._watches:
                self._watches[name].restore(state)

    def set_layout(self, layout: Layout) -> None:
        """The device's channels and period; what the rules have found so far stays."""
        if self.layout is None or (layout.hash, layout.period_s) != (self.layout.hash, self.layout.period_s):
            self.layout, self.period_s = layout, layout.period_s
            self._build({name: watch.to_dict() for name, watch in self._watches.items()})

    def take(self, sample: Sample) -> list[tuple[str, Finding]]:
        """Judge one sample, or a block of a high-rate profile; return (rule, finding) of what changed."""
        if sample.boot != self._boot:
            for watch in self._watches.values():
                watch.restart(sample.mono)
            self._boot, self._mono = sample.boot, sample.mono
        elif sample.mono < self._mono:
            self.out_of_order += 1
            return []
        self._mono = sample.mono
        self.last = sample
        found: list[tuple[str, Finding]] = []
        for t, one in [(sample.mono, sample)] if sample.period_s is None else _elements(sample, sample.period_s):
            for name, watch in self._watches.items():
                found += [(name, finding) for finding in watch.take(t, one)]
        return found

    def silent(self) -> list[tuple[str, Finding]]:
        """The device has gone silent: a suspect last reading is confirmed by that."""
        return [(name, finding) for name, watch in self._watches.items() for finding in watch.silent()]

    def to_dict(self) -> dict[str, Any]:
        return {
            "boot": self._boot,
            "mono": self._mono if self._boot else 0.0,
            "layout": self.layout.model_dump(mode="json") if self.layout else None,
            "watches": {name: watch.to_dict() for name, watch in self._watches.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.layout = Layout.model_validate(state["layout"]) if state["layout"] else None
        self.period_s = self.layout.period_s if self.layout else DEFAULT_PERIOD_S
        self._build(state["watches"])
        if state["boot"]:
            self._boot, self._mono = state["boot"], state["mono"]


def _elements(block: Sample, period_s: float) -> Iterator[tuple[float, Sample]]:
    """A block's readings one by one, the last at the block's own time."""
    length = max((len(v) for v in block.channels.values() if isinstance(v, list)), default=0)
    for i in range(length):
        channels: dict[str, Values] = {n: _at(v, i) for n, v in block.channels.items()}
        yield block.mono - (length - 1 - i) * period_s, block.model_copy(update={"channels": channels})


def _at(values: Values | Sequence[float | None], i: int) -> Values:
    return values[i] if isinstance(values, list) and i < len(values) else None
