"""Rules over scores and estimates. Pure."""

from collections.abc import Mapping
from typing import Any

from services.alert.rules import LimitRule, ScoreRule
from services.alert.score import KofN
from services.alert.watch import Element, Finding
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

    def __init__(self, rule: LimitRule) -> None:
        self.rule = rule
        self._element = Element(rule, rule.channel, 60.0, 180.0)
        self._boot = ""

    def take(self, estimate: Estimate) -> list[Finding]:
        estimated = estimate.values.get(self.rule.channel)
        if estimated is None:
            return []
        if estimate.boot != self._boot:
            self._boot = estimate.boot
            self._element.restart(estimate.mono)
        finding = self._element.take(estimate.mono, estimated.value, None, estimate.ts, estimate.boot, estimate.seq)
        return [finding] if finding is not None else []

    def to_dict(self) -> dict[str, Any]:
        return {"boot": self._boot, "element": self._element.to_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._boot = state["boot"]
        self._element.restore(state["element"])
