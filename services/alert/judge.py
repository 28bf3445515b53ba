"""Rules over scores and estimates. Pure."""

from collections.abc import Mapping
from typing import Any

from services.alert.delay import Delay
from services.alert.rules import EstimateRule, ScoreRule
from services.alert.score import KofN
from services.alert.watch import Finding
from services.bus.messages import Estimate, SampleId, Score


class ScoreWatch:
    """A model's score over k of n windows of one device."""

    def __init__(self, rule: ScoreRule) -> None:
        self.rule = rule
        self._windows = KofN(rule.k, rule.n, rule.clear_k)

    def take(self, score: Score) -> list[Finding]:
        limit = score.threshold * self.rule.factor
        before = self._windows.active
        active = self._windows.update(score.score > limit)
        if active == before:
            return []
        share = max(score.shares, key=lambda c: score.shares[c]) if score.shares else None
        quality = f"mostly {share}" if share else "good"
        sample = SampleId(boot=score.boot, seq=score.seq)
        return [
            Finding("score", active, self.rule.severity, score.score, limit, quality, score.ts, sample, score.window)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {"windows": self._windows.to_list()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._windows.restore(state["windows"])


class EstimateWatch:
    """A limit on one quantity of the streaming physics of one device."""

    def __init__(self, rule: EstimateRule) -> None:
        self.rule = rule
        self._delay = Delay(rule.on_delay_s, rule.off_delay_s)
        self._level = 0
        self._reported = (False, 0)
        self._boot = ""

    def take(self, estimate: Estimate) -> list[Finding]:
        estimated = estimate.values.get(self.rule.quantity)
        if estimated is None:
            return []  # nothing is known of it now: what was found last stands
        if estimate.boot != self._boot:  # another clock
            self._boot = estimate.boot
            self._delay.pause()
        rule, error = self.rule, estimated.error or 0.0
        sign = 1.0 if rule.side == "high" else -1.0
        value = sign * estimated.value
        sure = value - rule.sigmas * error
        beyond = (
            True if sure >= sign * rule.setpoint else False if value < sign * rule.setpoint - rule.deadband else None
        )
        active = self._delay.update(estimate.mono, beyond)
        if not active:
            self._level = 0
        elif rule.escalate is not None and sure >= sign * rule.escalate.setpoint:
            self._level = 1
        if (active, self._level) == self._reported:
            return []
        self._reported = (active, self._level)
        worse = rule.escalate if self._level else None
        severity, limit = (rule.severity, rule.setpoint) if worse is None else (worse.severity, worse.setpoint)
        quality = f"standard error {error:.2g}"
        return [Finding(rule.quantity, active, severity, estimated.value, limit, quality, estimate.ts, estimate.of)]

    def to_dict(self) -> dict[str, Any]:
        return {"boot": self._boot, "delay": self._delay.to_list(), "level": self._level}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._boot, self._level = state["boot"], state["level"]
        self._delay.restore(state["delay"])
        self._reported = (self._delay.active, self._level)
