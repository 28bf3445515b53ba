"""One rule applied to one device's samples: takes the readings out, asks the pure conditions, says what changed.

A watch is called with every sample, so the usual case (a good value far from its limit) returns first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.alert.delay import Delay
from services.alert.gate import Gate
from services.alert.limits import Limit
from services.alert.missing import Missing
from services.alert.rate import Rate
from services.alert.rules import LimitRule, MissingRule, RateRule, SpreadRule, When
from services.alert.spread import spread_of
from services.alert.suspect import Pending, Suspicion, Trust, Verdict, trust
from services.bus.messages import Sample, SampleId, Severity, Value, Values, Window


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition became active, worse, or clear."""

    channel: str
    active: bool
    severity: Severity
    value: float | None
    limit: float | None
    quality: str
    time: datetime
    sample: SampleId | None
    window: Window | None = None


def _gate(when: When | None) -> Gate | None:
    if when is None:
        return None
    low = float("-inf") if when.above is None else when.above
    high = float("inf") if when.below is None else when.below
    return Gate(when.channel, low, high, when.absolute, when.for_s)


class Element:
    """A high or low limit on one scalar channel, or on one element of a vector."""

    __slots__ = ("channel", "limit", "reported", "rule", "suspicion")

    def __init__(self, rule: LimitRule | SpreadRule, channel: str, period_s: float, silence_s: float) -> None:
        self.rule, self.channel = rule, channel
        self.limit = Limit(
            rule.setpoint,
            low=rule.kind == "low",
            deadband=rule.deadband,
            delay=Delay(rule.on_delay_s, rule.off_delay_s),
            escalation=rule.escalate.setpoint if rule.escalate else None,
        )
        self.suspicion = Suspicion(period_s, silence_s)
        self.reported: tuple[bool, int] = (False, 0)

    @property
    def idle(self) -> bool:
        return self.limit.idle and self.suspicion.pending is None and not self.reported[0]

    def take(self, t: float, value: Value, quality: str | None, time: datetime, boot: str, seq: int) -> Finding | None:
        limit, suspicion = self.limit, self.suspicion
        if value is not None and quality is None and suspicion.pending is None:
            if limit.delay.active or limit.delay.since is not None or limit.beyond(value):
                limit.update(t, value)
                return self._report(value, "good", time, SampleId(boot=boot, seq=seq))
            return None
        kind = trust(value, quality)
        beyond = None if value is None or kind is Trust.MISSING else limit.beyond(value)
        reading = None
        if kind is Trust.SUSPECT and beyond and value is not None:
            reading = Pending(t, value, quality or "suspect", time.timestamp(), SampleId(boot=boot, seq=seq))
        verdict = suspicion.take(t, kind, beyond, reading)
        if verdict is Verdict.CONFIRMED:
            return self.confirm()
        if verdict is Verdict.JUDGE and value is not None:
            limit.update(t, value)
            return self._report(value, quality or "good", time, SampleId(boot=boot, seq=seq))
        return None

    def confirm(self) -> Finding | None:
        """The pending suspect reading was real: its sample raises."""
        pending = self.suspicion.settle()
        self.limit.confirm(pending.value)
        time = datetime.fromtimestamp(pending.time, UTC)
        return self._report(pending.value, pending.quality, time, pending.sample)

    def _report(self, value: Value, quality: str, time: datetime, sample: SampleId) -> Finding | None:
        now = (self.limit.delay.active, self.limit.level)
        if now == self.reported:
            return None
        self.reported = now
        severity = self.rule.escalate.severity if self.limit.level and self.rule.escalate else self.rule.severity
        return Finding(self.channel, now[0], severity, value, self.limit.current, quality, time, sample)

    def relax(self, t: float, s: Sample) -> Finding | None:
        """The condition means nothing now: it is over, after the off-delay."""
        self.suspicion.pending = None
        if self.limit.delay.update(t, False):
            return None
        self.limit.level = 0
        return self._report(None, "good", s.ts, SampleId(boot=s.boot, seq=s.seq))

    def restart(self, t: float) -> None:
        """The samples' clock starts anew at `t`; a suspect reading of before still waits for the next one."""
        self.limit.delay.pause()
        if self.suspicion.pending is not None:
            self.suspicion.pending.t = t - self.suspicion.period_s

    def to_dict(self) -> dict[str, Any]:
        p = self.suspicion.pending
        pending = None if p is None else [p.t, p.value, p.quality, p.time, p.sample.boot, p.sample.seq, p.doubted]
        return {"delay": self.limit.delay.to_list(), "level": self.limit.level, "pending": pending}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.limit.delay.restore(state["delay"])
        self.limit.level = state["level"]
        self.reported = (self.limit.delay.active, self.limit.level)
        p = state["pending"]
        if p is not None:
            self.suspicion.pending = Pending(p[0], p[1], p[2], p[3], SampleId(boot=p[4], seq=p[5]), p[6])


class Watch:
    """Base of the watches. `take` returns what changed with this sample."""

    def __init__(self, when: When | None = None) -> None:
        self.gate = _gate(when)
        self._clears = when is not None and when.otherwise == "clear"

    def take(self, t: float, s: Sample) -> list[Finding]:
        if self.gate is not None and not self.gate.open(t, s.channels, s.quality):
            if self._clears:
                return self.relax(t, s)
            self.pause()
            return []
        return self.judge(t, s)

    def judge(self, t: float, s: Sample) -> list[Finding]:
        raise NotImplementedError

    def silent(self) -> list[Finding]:
        """Nothing came for so long that the device counts as silent (receiver's clock)."""
        return []

    def relax(self, t: float, s: Sample) -> list[Finding]:
        """The gate closed on a rule that means nothing then: the condition is over."""
        raise NotImplementedError

    def pause(self) -> None:
        """The gate closed: running delays start anew, the state stays."""

    def restart(self, t: float) -> None:
        """The samples' clock starts anew at `t` (another process start of the sensor)."""
        self.pause()
        if self.gate is not None:
            self.gate.since = None

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any]) -> None:
        raise NotImplementedError


class LimitWatch(Watch):
    """A limit on a scalar channel, or on each element of a vector."""

    def __init__(self, rule: LimitRule, period_s: float, silence_s: float) -> None:
        super().__init__(rule.when)
        self.rule, self._periods = rule, (period_s, silence_s)
        self._elements: dict[str, Element] = {}
        self._single = self._element(rule.channel)

    def _element(self, channel: str) -> Element:
        if channel not in self._elements:
            self._elements[channel] = Element(self.rule, channel, *self._periods)
        return self._elements[channel]

    def judge(self, t: float, s: Sample) -> list[Finding]:
        name = self.rule.channel
        if name not in s.channels:
            return []
        value = s.channels[name]
        quality = s.quality.get(name) if s.quality else None
        if not isinstance(value, list):
            finding = self._single.take(t, value, quality, s.ts, s.boot, s.seq)
            return [finding] if finding is not None else []
        return self._vector(t, s, value, quality)

    def _vector(self, t: float, s: Sample, values: list[Value], whole: str | None) -> list[Finding]:
        if not s.quality and None not in values:
            worst = (min if self.rule.kind == "low" else max)(values)  # type: ignore[type-var]
            if (
                worst is not None
                and not self._single.limit.beyond(worst)
                and all(e.idle for e in self._elements.values())
            ):
                return []
        findings = []
        for i, value in enumerate(values):
            name = f"{self.rule.channel}[{i}]"
            quality = s.quality.get(name, whole)
            if name not in self._elements and (value is None or not self._single.limit.beyond(value)):
                continue
            finding = self._element(name).take(t, value, quality, s.ts, s.boot, s.seq)
            if finding is not None:
                findings.append(finding)
        return findings

    def relax(self, t: float, s: Sample) -> list[Finding]:
        found = (e.relax(t, s) for e in self._elements.values() if not e.idle)
        return [f for f in found if f is not None]

    def silent(self) -> list[Finding]:
        waiting = [e for e in self._elements.values() if e.suspicion.pending is not None]
        return [f for f in (e.confirm() for e in waiting) if f is not None]

    def pause(self) -> None:
        for element in self._elements.values():
            element.limit.delay.pause()

    def restart(self, t: float) -> None:
        super().restart(t)
        for element in self._elements.values():
            element.restart(t)

    def to_dict(self) -> dict[str, Any]:
        live = {c: e.to_dict() for c, e in self._elements.items() if not e.idle}
        return {"elements": live, "gate": self.gate.since if self.gate else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        for channel, element in state["elements"].items():
            self._element(channel).restore(element)
        if self.gate is not None:
            self.gate.since = state["gate"]


class SpreadWatch(Watch):
    """Spread of a vector's elements, or of several scalar channels. Only good readings enter it."""

    def __init__(self, rule: SpreadRule, period_s: float, silence_s: float) -> None:
        super().__init__(rule.when)
        self.rule = rule
        self._element = Element(rule, rule.channels[0] if len(rule.channels) == 1 else "spread", period_s, silence_s)

    def judge(self, t: float, s: Sample) -> list[Finding]:
        value = spread_of(self.rule.channels, s.channels, s.quality)
        if value is None:
            return []
        finding = self._element.take(t, value, None, s.ts, s.boot, s.seq)
        return [finding] if finding is not None else []

    def relax(self, t: float, s: Sample) -> list[Finding]:
        finding = self._element.relax(t, s)
        return [finding] if finding is not None else []

    def pause(self) -> None:
        self._element.limit.delay.pause()

    def to_dict(self) -> dict[str, Any]:
        return {"element": self._element.to_dict(), "gate": self.gate.since if self.gate else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._element.restore(state["element"])
        if self.gate is not None:
            self.gate.since = state["gate"]


class RateWatch(Watch):
    """Rate of rise of a scalar channel."""

    def __init__(self, rule: RateRule) -> None:
        super().__init__(rule.when)
        self.rule = rule
        self._rate = Rate(rule.rise_per_s, rule.window_s, rule.deadband, Delay(rule.on_delay_s, rule.off_delay_s))
        self._reported = False

    def judge(self, t: float, s: Sample) -> list[Finding]:
        name = self.rule.channel
        value: Values = s.channels.get(name)
        if isinstance(value, list):
            return []
        quality = s.quality.get(name) if s.quality else None
        return self._changed(self._rate.update(t, value, trust(value, quality)), quality, s)

    def relax(self, t: float, s: Sample) -> list[Finding]:
        return self._changed(self._rate.delay.update(t, False), None, s)

    def _changed(self, active: bool, quality: str | None, s: Sample) -> list[Finding]:
        name = self.rule.channel
        if active == self._reported:
            return []
        self._reported = active
        sample = SampleId(boot=s.boot, seq=s.seq)
        limit, severity = self.rule.rise_per_s, self.rule.severity
        return [Finding(name, active, severity, self._rate.rate, limit, quality or "good", s.ts, sample)]

    def pause(self) -> None:
        self._rate.pause()

    def to_dict(self) -> dict[str, Any]:
        return {"rate": self._rate.to_list(), "gate": self.gate.since if self.gate else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rate.restore(state["rate"])
        self._reported = self._rate.delay.active
        if self.gate is not None:
            self.gate.since = state["gate"]


class MissingWatch(Watch):
    """Readings that do not come, or come marked as faulty."""

    def __init__(self, rule: MissingRule, period_s: float, expected: Mapping[str, bool]) -> None:
        super().__init__()
        self.rule = rule
        self._missing = Missing(
            "missing" if rule.kind == "missing_data" else "fault",
            max(rule.at_least_s, rule.periods * period_s),
            rule.off_delay_s,
            expected,
        )

    def judge(self, t: float, s: Sample) -> list[Finding]:
        gone = self._missing.update(t, s.channels, s.quality)
        if not gone:
            return []
        sample, severity = SampleId(boot=s.boot, seq=s.seq), self.rule.severity
        return [
            Finding(g.channel, g.active, severity, None, self._missing.limit_s, g.quality, s.ts, sample) for g in gone
        ]

    def pause(self) -> None:
        self._missing.pause()

    def to_dict(self) -> dict[str, Any]:
        return {"missing": self._missing.to_list()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._missing.restore(state["missing"])
