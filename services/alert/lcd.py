"""The 20x4 character display as four lines of text. Pure: the same view at the same second is the same frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from services.alert.machine import Machine
from services.alert.rules import Rule
from services.bus.messages import SEVERITIES, Estimated, Severity

WIDTH: Final = 20
PAGE_S: Final = 4  # how long a page stays [s]
MARKS: Final = "*+-+"  # moves each second: a display that has frozen looks healthy otherwise
Led = Literal["GREEN", "AMBER", "RED"]
STATES: Final = {
    "unacknowledged_active": "UNACK",
    "acknowledged_active": "ACK",
    "rtn_unacknowledged": "RTN",
    "latched_unacknowledged": "LATCH",
    "latched_acknowledged": "LATCH",
}


QUANTITIES: Final = (
    ("soc", "SoC", "%"),
    ("capacity", "cap.", "Ah"),
    ("leak_current", "leak", "A"),
    ("resistance", "R", "ohm"),
    ("cell_drain", "drain/d", "%"),
    ("cell_spread_drift", "drift/d", "V"),
    ("cell_resistance_ratio", "R worst", ""),
    ("temperature_rate", "dT/s", "K"),
)
"""Estimates on the display: name, word, unit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One annunciated alarm.

    Args:
        word: what a large display says of it.
        occurrence, revision: what an acknowledge must name; revision is that of the rule's alarms.
        raised_at: s since 1970.
    """

    severity: Severity
    device: str
    rule: str
    channel: str
    state: str
    value: float | None
    limit: float | None
    unit: str
    digits: int
    word: str = ""
    text: str = ""
    occurrence: str = ""
    revision: int = 0
    raised_at: float = 0.0
    acknowledged: bool = False

    @classmethod
    def of(cls, device: str, channel: str, machine: Machine, rule: Rule, revision: int) -> "Entry":
        e = machine.evidence or {}
        value, limit, unit = e.get("value"), e.get("limit"), e.get("unit") or ""
        return cls(
            machine.severity, device, rule.name, channel, machine.state, value, limit, unit, rule.digits, rule.word,
            machine.text, machine.occurrence or "", revision, machine.raised_at or 0.0, machine.acknowledged,
        )  # fmt: skip

    @property
    def sounds(self) -> bool:
        """Whether it calls for somebody: active or latched, and nobody has acknowledged it (ISA-18.2)."""
        return self.state in ("unacknowledged_active", "latched_unacknowledged")


@dataclass(frozen=True, slots=True)
class View:
    """What the display shows.

    Args:
        alarms: worst first.
        readings: (device, channels) of each device; channels None = silent.
        clock: `08:15:02`.
        second: steady count of seconds; moves the mark.
        since_change_s: time since the alarms changed, or a person turned the page: a new alarm is shown first [s].
        question: what a person is asked to confirm with the button, in up to three lines.
        silenced: the buzzer is to be quiet.
        wall: s since 1970.
        estimates: by device, of those that are not silent.
    """

    alarms: Sequence[Entry]
    readings: Sequence[tuple[str, Mapping[str, object] | None]]
    clock: str
    second: int
    since_change_s: float = 0.0
    question: Sequence[str] = ()
    silenced: bool = False
    wall: float = 0.0
    estimates: Mapping[str, Mapping[str, Estimated]] = field(default_factory=dict)

    @property
    def lamp(self) -> "Led":
        """Colour of the lamp."""
        return led([e.severity for e in self.alarms])


def led(severities: Sequence[Severity]) -> Led:
    """Colour of the lamp by the worst severity: red from `high` on. Green blinks, to show life."""
    if not severities:
        return "GREEN"
    worst = max(SEVERITIES.index(s) for s in severities)
    return "RED" if worst >= SEVERITIES.index("high") else "AMBER"


def frame(view: View) -> list[str]:
    """Four lines of 20 ASCII characters: colour, page, clock, moving mark; then an alarm, or a device's readings."""
    pages = _pages(view)
    at = int(view.since_change_s // PAGE_S) % len(pages)
    what = f"{at + 1}/{len(view.alarms)}" if at < len(view.alarms) else ("ALARM" if view.alarms else "OK")
    mark = MARKS[view.second % len(MARKS)]
    head = f"{view.lamp:<5} {what[:5]:<5}{view.clock[:5]:>7}{mark:>2}"
    return [_line(text) for text in (head, *pages[at])]


def page_count(view: View) -> int:
    """How many pages `frame` turns through: alarms first."""
    return len(_pages(view))


def _pages(view: View) -> list[list[str]]:
    pages = [_alarm(e) for e in view.alarms] + [_readings(d, c, view) for d, c in view.readings]
    pages += [page for device, known in view.estimates.items() for page in _estimates(device, known)]
    return pages or [["no device yet", "", _counts(view)]]


def _line(text: str) -> str:
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return f"{printable[:WIDTH]:<{WIDTH}}"


def _alarm(e: Entry) -> list[str]:
    state = STATES.get(e.state, "")
    limit = "" if e.limit is None else f"/{e.limit:.{e.digits}f}"
    value = "no reading" if e.value is None else f"{e.value:.{e.digits}f}{limit}{e.unit}"
    where = e.device if e.channel in ("score", e.device) else f"{e.device} {e.channel}"
    room = WIDTH - 1 - len(state)
    urgency = "!" * SEVERITIES.index(e.severity)  # three of them: critical
    return [
        urgency + e.rule.replace("_", " "),
        where if len(where) <= WIDTH else e.device,
        f"{value[:room]:<{room}} {state}",
    ]


def _readings(device: str, channels: Mapping[str, object] | None, view: View) -> list[str]:
    if channels is None:
        return [device, "no data", _counts(view)]

    def number(name: str, digits: int, unit: str, scale: float = 1.0) -> str:
        value = channels.get(name)
        return f"{value * scale:.{digits}f}{unit}" if isinstance(value, int | float) else f"--{unit}"

    power = f"{number('voltage', 1, 'V')} {number('current', 1, 'A')}"
    state = f"{number('temperature_max', 0, 'C')} {number('soc', 0, '%', 100)} d{number('cell_spread', 0, 'mV', 1000)}"
    return [device, power, _counts(view) if view.alarms and view.second % 2 else state]


def _estimates(device: str, known: Mapping[str, Estimated]) -> list[list[str]]:
    """Pages of what the streaming physics says, two quantities each, with their standard errors."""
    lines = [_quantity(*row, known[row[0]]) for row in QUANTITIES if row[0] in known]
    return [[f"{device[: WIDTH - 5]} est.", *lines[i : i + 2], ""][:3] for i in range(0, len(lines), 2)]


def _quantity(_: str, word: str, unit: str, estimated: Estimated) -> str:
    value, error = estimated.value, estimated.error or 0.0
    if unit == "%":
        value, error = 100 * value, 100 * error
    elif unit and max(abs(value), error) < 1:
        value, error, unit = 1000 * value, 1000 * error, f"m{unit}"
    digits = 0 if error >= 2 else 1 if error >= 0.2 else 2
    return f"{word} {value:.{digits}f}+-{error:.{digits}f}{unit}"


def _counts(view: View) -> str:
    unacknowledged = sum(e.state in ("unacknowledged_active", "rtn_unacknowledged") for e in view.alarms)
    return f"{len(view.alarms)} alarms {unacknowledged} unack" if view.alarms else "no alarm"
