"""Alarms as a person reads them: rows of the table, and the banner over everything. Pure.

States and words: ANSI/ISA-18.2-2016. The banner never shows green on hearsay: NORMAL needs live samples and a live
alert service that judges them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.bus.messages import SEVERITIES, Alarm, AlarmState, AlarmStatus
from services.dashboard.staleness import Freshness, Life

Tone = Literal["red", "amber", "green", "grey"]
STATE_WORDS: Final[dict[AlarmState, str]] = {
    "normal": "Normal",
    "unacknowledged_active": "Active, not acknowledged",
    "acknowledged_active": "Active, acknowledged",
    "rtn_unacknowledged": "Returned to normal, not acknowledged",
    "latched_unacknowledged": "Latched, not acknowledged",
    "latched_acknowledged": "Latched, acknowledged; waits for a reset",
    "shelved": "Shelved",
    "suppressed": "Suppressed by design",
    "out_of_service": "Out of service",
}
HIDDEN: Final = ("shelved", "suppressed", "out_of_service")
RECENT: Final = 8  # cleared alarms that are shown
_ELEMENT = re.compile(r"(\w+)\[(\d+)\]\Z")
_ONE_OF: Final = {"cell_voltages": "cell", "temperatures": "probe"}


def time_words(time: datetime | None) -> str:
    """`2021-05-05 09:10:00 UTC`."""
    return "an unknown time" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def channel_words(channel: str) -> str:
    """`cell_voltages[7]` is called `cell 8` (people count from one), `temperature_max` `temperature max`."""
    element = _ELEMENT.match(channel)
    if element:
        name = _ONE_OF.get(element[1], element[1].replace("_", " "))
        return f"{name} {int(element[2]) + 1}"
    return channel.replace("_", " ")


def unit_words(unit: str) -> str:
    return {"degC": "°C", "degC/s": "°C/s", "1": ""}.get(unit, unit)


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One alarm. `channel` is what a command must name, None when the rule watches one thing only."""

    node: str
    device: str
    rule: str
    channel: str | None
    revision: int
    alarm: Alarm
    stale: bool = False

    @property
    def key(self) -> str:
        return "-".join((self.node, self.device, self.rule, self.channel or ""))

    @property
    def title(self) -> str:
        words = self.rule.replace("_", " ").capitalize()
        return f"{words}: {channel_words(self.channel)}" if self.channel else words

    @property
    def attention(self) -> bool:
        """A person must see it: active, latched, or gone without an acknowledge."""
        return self.alarm.state != "normal" and self.alarm.state not in HIDDEN

    @property
    def may_acknowledge(self) -> bool:
        return self.attention and not self.alarm.acknowledged and self.alarm.occurrence is not None

    @property
    def may_reset(self) -> bool:
        return self.alarm.state == "latched_acknowledged"

    @property
    def state_words(self) -> str:
        words = STATE_WORDS[self.alarm.state]
        if self.alarm.state == "shelved" and self.alarm.shelved_until is not None:
            words += f" until {time_words(self.alarm.shelved_until)}"
        return words

    @property
    def tone(self) -> Tone:
        if not self.attention:
            return "grey" if self.alarm.state in HIDDEN else "green"
        standing = self.alarm.active or self.alarm.latched
        return "red" if standing and self.alarm.severity in ("high", "critical") else "amber"

    @property
    def evidence_words(self) -> str:
        """`cell spread 0.152 V, limit 0.12 V`."""
        e = self.alarm.evidence
        if e is None or e.value is None:
            return ""
        unit = unit_words(e.unit)
        limit = "" if e.limit is None else f", limit {e.limit:g} {unit}".rstrip()
        quality = "" if e.quality == "good" else f" ({e.quality})"
        return f"{channel_words(e.channel)} {e.value:.4g} {unit}".rstrip() + quality + limit

    @property
    def said(self) -> str:
        """The alarm's text; with value and limit where the text does not hold them."""
        if self.alarm.text and any(c.isdigit() for c in self.alarm.text):
            return self.alarm.text
        return ": ".join(part for part in (self.alarm.text or self.title, self.evidence_words) if part)

    @property
    def rank(self) -> tuple[bool, bool, int, bool, float]:
        """Sorts by what must be seen first; the greatest is the worst."""
        a = self.alarm
        raised = a.raised_at.timestamp() if a.raised_at else 0.0
        return self.attention, a.active or a.latched, SEVERITIES.index(a.severity), not a.acknowledged, raised


def rows(alarms: Iterable[tuple[tuple[str, str], str, AlarmStatus, bool]]) -> list[AlarmRow]:
    """Rows of ((node, device), rule, retained state, stale): what needs a person first, cleared ones last."""
    found: list[AlarmRow] = []
    for (node, device), rule, status, stale in alarms:
        several: list[tuple[str | None, Alarm]] = list(status.alarms.items()) or [(None, status)]
        found += [AlarmRow(node, device, rule, c, status.revision, a, stale) for c, a in several]
    attention = sorted((r for r in found if r.attention), key=lambda r: r.rank, reverse=True)
    hidden = [r for r in found if r.alarm.state in HIDDEN and (r.alarm.count or r.alarm.state != "suppressed")]
    cleared = [r for r in found if r.alarm.state == "normal" and r.alarm.cleared_at is not None]
    cleared.sort(key=lambda r: r.alarm.cleared_at.timestamp() if r.alarm.cleared_at else 0.0, reverse=True)
    return attention + hidden + cleared[:RECENT]


@dataclass(frozen=True, slots=True)
class Banner:
    """The state in one line. `word` says it without colour."""

    tone: Tone
    word: str
    text: str
    detail: str = ""


def banner(found: Sequence[AlarmRow], fresh: Freshness, alert: Life | None) -> Banner:
    """Judge what to say of a device.

    Args:
        found: its alarms, worst first (`rows`).
        fresh: whether its values are true now.
        alert: life of the node's alert service, None = never heard of.
    """
    waiting = [r for r in found if r.attention]
    if waiting:
        return _alarm(waiting, fresh)
    if fresh.state == "stale":
        return Banner("amber", "UNKNOWN", "The values below are old: " + fresh.reason + ".", "Whether an alarm stands "
                      "now cannot be said from here; the node itself goes on judging and warning.")  # fmt: skip
    if fresh.state == "waiting":
        return Banner("grey", "WAITING", "No sample has come from this device yet.", "Is its sensor service running?")
    if alert is None or alert in ("offline", "silent"):
        said = {None: "has not been heard of", "offline": "is offline", "silent": "is silent"}[alert]
        return Banner(
            "amber", "NOT WATCHED", f"The node's alert service {said}.", "Values are shown, nobody judges them."
        )
    if alert == "unconfirmed":
        return Banner("grey", "CHECKING", "Waiting for a sign of life of the node's alert service.")
    if fresh.state == "finished":
        return Banner("green", "NORMAL", "No alarm stood at the end of the recording.", fresh.reason.capitalize() + ".")
    return Banner("green", "NORMAL", "No alarm. Samples are live and the alert service is watching.")


def _alarm(waiting: Sequence[AlarmRow], fresh: Freshness) -> Banner:
    worst = waiting[0]
    alarm = worst.alarm
    if alarm.active:
        word = f"{alarm.severity.upper()} ALARM"
    elif alarm.latched:
        word = "ALARM LATCHED"
    else:
        word = "ALARM HAS CLEARED"
    if alarm.active or alarm.cleared_at is None:
        when = f"since {time_words(alarm.raised_at)}"
    else:
        when = f"raised {time_words(alarm.raised_at)}, cleared {time_words(alarm.cleared_at)}"
    parts = [when, worst.state_words[:1].lower() + worst.state_words[1:]]
    if len(waiting) > 1:
        parts.append(f"{len(waiting) - 1} more below")
    detail = " · ".join(parts)
    if fresh.state == "stale":
        detail += f" · values and state may be old: {fresh.reason}"
    return Banner(worst.tone, word, worst.said, detail[:1].upper() + detail[1:])
