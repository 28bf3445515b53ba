"""Alarm rules as data: rules/*.yaml, read into these models.

A file has one head (`profile: battery`, or `watch: node` / `watch: cloud` for rules about services) and a list `rules`.
Every rule says `why`: the source of its limit, or the data that it was measured on.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.alert.outputs.bigfont import GLYPHS, width
from services.bus.errors import ConfigError
from services.bus.messages import SEVERITIES, Channel, Severity
from services.bus.settings import read_yaml
from services.bus.topics import check_name

FIELDS: Final = frozenset({"value", "limit", "unit", "channel", "device", "quality", "rule"})
WORD: Final = 15  # columns of the display
SHELF_S: Final = 28_800.0  # one shift of 8 hours


def _rule_name(name: str) -> str:
    return check_name("rule", name)


def _word(word: str) -> str:
    if not word.strip() or not set(word) <= GLYPHS.keys() or width(word) > WORD:
        raise ValueError(f"{word!r}: four of A-Z 0-9 and blank at most; M, N and W are wider")
    return word


def _template(text: str) -> str:
    for _, name, spec, conversion in string.Formatter().parse(text):
        if name is not None and (name not in FIELDS or spec or conversion):
            raise ValueError(f"{{{name}}}: use {', '.join(sorted(FIELDS))}, without a format")
    return text


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class When(Part):
    """The rule holds only while a channel is within bounds."""

    channel: Channel
    above: float | None = Field(None, description="Holds at or above this, unit of the channel.")
    below: float | None = Field(None, description="Holds at or below this, unit of the channel.")
    absolute: bool = Field(False, description="Compare the magnitude.")
    for_s: float = Field(0.0, ge=0, description="And has been for this long [s].")
    otherwise: Literal["hold", "clear"] = Field(
        "hold", description="Out of bounds: what was found last still stands, or the condition is over."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("when: give above, below or both")
        return self


class Escalate(Part):
    """Beyond a further setpoint the severity rises (and an acknowledged alarm wants a new acknowledge)."""

    setpoint: float
    severity: Severity


class RuleBase(Part):
    """What every rule has."""

    name: Annotated[str, AfterValidator(_rule_name)]
    severity: Severity
    text: Annotated[str, AfterValidator(_template)] = Field(min_length=1, max_length=120)
    why: str = Field(min_length=10, description="Source of the limit: a standard, a data sheet, or what was measured.")
    unit: str = ""
    digits: int = Field(1, ge=0, le=6, description="Decimals of value and limit in the text.")
    word: Annotated[str, AfterValidator(_word)] = Field("LOOK", description="The alarm in up to 4 large letters.")
    latch: bool = Field(False, description="Stays, after the condition is over, until a person resets it.")
    shelvable_s: float | None = Field(None, ge=0, description="Longest shelf [s]; 0 = none. Default 8 h, latched 0.")

    @model_validator(mode="after")
    def _latched_is_not_shelved(self) -> Self:
        if self.latch and self.shelvable_s:
            raise ValueError("shelvable_s: an alarm that latches cannot be shelved; leave it out")
        return self

    @property
    def shelf_s(self) -> float:
        """Longest shelf [s]."""
        return (0.0 if self.latch else SHELF_S) if self.shelvable_s is None else self.shelvable_s


class Delayed(RuleBase):
    on_delay_s: float = Field(0.0, ge=0, description="How long the condition must hold before it raises [s].")
    off_delay_s: float = Field(0.0, ge=0, description="How long it must be over before it clears [s].")


class LimitRule(Delayed):
    """A value at or beyond a setpoint; of a vector, each element by itself."""

    kind: Literal["high", "low"]
    channel: Channel
    setpoint: float
    deadband: float = Field(0.0, ge=0, description="Clears only this much on the good side [unit].")
    escalate: Escalate | None = None
    when: When | None = None

    @model_validator(mode="after")
    def _further_and_worse(self) -> Self:
        _check_escalation(self.escalate, self.setpoint, self.severity, 1 if self.kind == "high" else -1)
        return self


def _check_escalation(escalate: Escalate | None, setpoint: float, severity: Severity, sign: int) -> None:
    if escalate is None:
        return
    if sign * (escalate.setpoint - setpoint) <= 0:
        raise ValueError(f"escalate.setpoint: {escalate.setpoint} is not beyond {setpoint}")
    if SEVERITIES.index(escalate.severity) <= SEVERITIES.index(severity):
        raise ValueError(f"escalate.severity: {escalate.severity} is not above {severity}")


class EstimateRule(Delayed):
    """A quantity of the streaming physics that is surely at or beyond a setpoint: with its standard error.

    Raises when it is so by `sigmas` standard errors; clears when the value itself is back by more than the deadband, so
    an estimate that has only become unsure neither raises nor clears.
    """

    kind: Literal["estimate"]
    quantity: Channel = Field(description="As in `values` of estimate messages.")
    side: Literal["high", "low"] = "high"
    setpoint: float
    deadband: float = Field(0.0, ge=0, description="Clears only this much on the good side [unit].")
    sigmas: float = Field(3.0, ge=0, description="Standard errors by which it must be beyond.")
    escalate: Escalate | None = None

    @model_validator(mode="after")
    def _further_and_worse(self) -> Self:
        _check_escalation(self.escalate, self.setpoint, self.severity, 1 if self.side == "high" else -1)
        return self


class RateRule(Delayed):
    """A value that rises too fast."""

    kind: Literal["rate"]
    channel: Channel
    rise_per_s: float = Field(gt=0, description="Unit of the channel per second.")
    window_s: float = Field(gt=0, description="Over how long the rise is taken [s].")
    deadband: float = Field(0.0, ge=0)
    when: When | None = None


class SpreadRule(Delayed):
    """Highest minus lowest of one vector, or of several scalar channels."""

    kind: Literal["spread"]
    channels: tuple[Channel, ...] = Field(min_length=1)
    setpoint: float = Field(gt=0)
    deadband: float = Field(0.0, ge=0)
    escalate: Escalate | None = None
    when: When | None = None


class MissingRule(RuleBase):
    """Channels of the layout without a reading (`missing_data`), or marked faulty (`sensor_fault`)."""

    kind: Literal["missing_data", "sensor_fault"]
    at_least_s: float = Field(5.0, ge=0, description="Raises after max(this, periods x the device's period) [s].")
    periods: float = Field(3.0, ge=0)
    off_delay_s: float = Field(0.0, ge=0)


class ScoreRule(RuleBase):
    """A model's score beyond its own threshold in k of n windows."""

    kind: Literal["score"]
    model: str = Field(description="Name of the score topic: the bundle's name.")
    k: int = Field(ge=1)
    n: int = Field(ge=1, le=10_000)
    clear_k: int = Field(0, ge=0, description="Clears when at most so many of the n windows are beyond.")
    factor: float = Field(1.0, gt=0, description="Times the bundle's threshold.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.clear_k < self.k <= self.n:
            raise ValueError(f"k: {self.k} must be above clear_k {self.clear_k} and at most n {self.n}")
        return self


class SilenceRule(RuleBase):
    """Nothing is heard: of a service (heartbeats), a device (samples), a whole node, the broker; an output fails."""

    kind: Literal["silent_service", "silent_telemetry", "silent_node", "broker", "output"]
    heartbeats: float = Field(3.0, ge=1, description="A service is silent after max(at_least_s, so many heartbeats).")
    at_least_s: float = Field(5.0, gt=0, description="A device is silent after max(this, periods x its period) [s].")
    periods: float = Field(3.0, ge=1)
    start_delay_s: float = Field(30.0, ge=0, description="Patience after our own start [s].")
    off_delay_s: float = Field(0.0, ge=0)
    expected: tuple[str, ...] = Field((), description="Services that must be there even if they never reported.")


class DrillRule(RuleBase):
    """A test alarm that a person asks for: goes through every output, and ends by itself (drill.py)."""

    kind: Literal["drill"]
    at_least_s: float = Field(10.0, gt=0, description="It stands at least so long, to be seen and heard [s].")
    at_most_s: float = Field(60.0, gt=0, description="What has not answered by then did not answer [s].")


About = SilenceRule | DrillRule
Rule = Annotated[
    LimitRule | EstimateRule | RateRule | SpreadRule | MissingRule | ScoreRule | About, Field(discriminator="kind")
]


class _File(Part):
    profile: str | None = None
    watch: Literal["node", "cloud"] | None = None
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_head(self) -> Self:
        if (self.profile is None) == (self.watch is None):
            raise ValueError("give either profile: NAME or watch: node|cloud")
        for rule in self.rules:
            if isinstance(rule, About) != (self.watch is not None):
                raise ValueError(f"rules: {rule.name}: kind {rule.kind} does not belong into this file")
        return self


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules: those of each telemetry profile, and those about services."""

    profiles: dict[str, tuple[Rule, ...]]
    watch: tuple[SilenceRule, ...] = ()
    drills: tuple[DrillRule, ...] = ()

    def by_name(self) -> dict[str, Rule]:
        judged = (r for rules in self.profiles.values() for r in rules)
        return {r.name: r for r in (*self.watch, *self.drills, *judged)}


def load_rules(paths: Sequence[Path]) -> RuleSet:
    """Read rule files. Raises ConfigError naming the file, the rule and the key."""
    profiles: dict[str, tuple[Rule, ...]] = {}
    watch: tuple[SilenceRule, ...] = ()
    drills: tuple[DrillRule, ...] = ()
    seen: dict[str, Path] = {}
    for path in paths:
        content = read_yaml(path)
        try:
            file = _File.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(str(path), _key(content, first["loc"]), first["msg"]) from None
        for rule in file.rules:
            if rule.name in seen:
                raise ConfigError(str(path), f"rules[{rule.name}]", f"the name is already used in {seen[rule.name]}")
            seen[rule.name] = path
        if file.profile is not None:
            profiles[file.profile] = profiles.get(file.profile, ()) + file.rules
        else:
            watch += tuple(r for r in file.rules if isinstance(r, SilenceRule))
            drills += tuple(r for r in file.rules if isinstance(r, DrillRule))
    return RuleSet(profiles, watch, drills)


def _key(content: Any, loc: tuple[int | str, ...]) -> str:
    """`rules[cell_spread].setpoint` instead of `rules.3.high.setpoint`."""
    if len(loc) < 2 or loc[0] != "rules" or not isinstance(loc[1], int):
        return ".".join(map(str, loc)) or "file"
    try:
        name = content["rules"][loc[1]]["name"]
    except (KeyError, TypeError, IndexError):
        name = loc[1]
    kinds = {"high", "low", "estimate", "rate", "spread", "missing_data", "sensor_fault", "score"}
    kinds |= {"silent_service", "silent_telemetry", "silent_node", "broker", "output", "drill"}
    rest = [str(part) for part in loc[2:] if part not in kinds]
    return ".".join([f"rules[{name}]", *rest])
