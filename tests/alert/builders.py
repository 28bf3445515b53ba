"""Samples, rules and times for the tests of the alert service."""

from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from services.alert.engine import Engine, Now
from services.alert.register import Change
from services.alert.rules import RuleSet, load_rules
from services.bus.messages import Acknowledge, Layout, LayoutChannel, Sample, Score, Values
from services.bus.settings import ROOT
from services.bus.topics import Topic

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
BOOT = "9f3c0a517be2d4c8"
TELEMETRY = Topic("pi", "pack-1", "telemetry", "battery")


def at(t: float) -> datetime:
    return START + timedelta(seconds=t)


def sample(t: float, quality: dict[str, str] | None = None, *, seq: int | None = None, **channels: Values) -> Sample:
    """A sample at `t` seconds; at 1 Hz its seq is its second."""
    return Sample(
        boot=BOOT,
        seq=int(t) if seq is None else seq,
        ts=at(t),
        mono=t,
        layout="b1c4e07d",
        channels=channels,
        quality=quality or {},
    )


def score(seq: int, value: float, threshold: float = 1.0) -> Score:
    window = {"boot": BOOT, "first": seq * 10, "last": seq * 10 + 127, "holes": 0}
    fields: dict[str, Any] = {"boot": BOOT, "seq": seq, "ts": at(seq), "mono": float(seq), "bundle": "dyad-int8@1"}
    return Score.model_validate(fields | {"window": window, "score": value, "threshold": threshold})


def layout(*names: str, period_s: float = 1.0, **vectors: int) -> Layout:
    channels = [LayoutChannel(name=n, unit="V") for n in names]
    channels += [LayoutChannel(name=n, unit="V", length=length) for n, length in vectors.items()]
    return Layout(profile="battery", version=1, hash="b1c4e07d", period_s=period_s, channels=channels)


def shipped() -> RuleSet:
    return load_rules([ROOT / "rules" / "battery.yaml", ROOT / "rules" / "node.yaml"])


def rules_of(tmp_path: Any, text: str) -> RuleSet:
    """Rules from YAML text."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_rules([path])


def judge(engine: Engine, *samples: Sample) -> list[Change]:
    return [c for s in samples for c in engine.take(TELEMETRY, s, Now(s.mono, s.ts.timestamp()))]


def brief(changes: list[Change]) -> list[tuple[str, str]]:
    """(rule, type) of each."""
    return [(c.rule, c.type) for c in changes]


def command(action: str, rule: str, **fields: Any) -> Acknowledge:
    defaults = {"correlation_id": f"{action}-{rule}-{len(str(fields))}", "by": "anna@test"}
    return Acknowledge.model_validate(defaults | fields | {"action": action, "rule": rule})


def yaml_of(*rules: dict[str, Any], **head: str) -> str:
    return yaml.safe_dump(head | {"rules": list(rules)})
