"""What a person at the node does with one button: acknowledge, turn the page, silence, answer a question, drill. Pure.

One press answers for what was on the display when the person decided, a moment ago: it acknowledges that alarm if it
waits for that, else it turns the page. Held for a second it silences the buzzer; held for five it starts a drill. While
a question is shown (a phone wants to pair), a press is yes and holding is no.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.alert.lcd import PAGE_S, Entry, View
from services.alert.register import Change
from services.bus.messages import Acknowledge, Reply

HOLD_S: Final = 1.0  # a press that lasts so long is a hold
DRILL_S: Final = 5.0
SILENCE_S: Final = 120.0  # IEC 60601-1-8: an audio pause of an alarm system lasts two minutes at most
REACTION_S: Final = 0.3  # nobody answers faster to what has just appeared
QUESTION_S: Final = 30.0  # phones give up a pairing after 30 s


class Screen(Protocol):
    """The display."""

    @property
    def fault(self) -> str | None:
        """What is wrong with it."""

    def seen(self, at: float) -> Entry | None:
        """The alarm that stood on it at a time; None = a page without one."""


@dataclass(slots=True)
class Question:
    """Asked on the display; `answer` is called once, with False when nobody answers in time."""

    lines: Sequence[str]
    answer: Callable[[bool], None]
    asked: float


@dataclass(slots=True)
class Desk:
    """State of the place where a person stands. All times are the receiver's steady clock [s].

    Args:
        node: goes into the name of who acknowledged.
        command: carries out a command for a device.
        screen: the display, if there is one.
        on_drill: called when the button was held for DRILL_S.
    """

    node: str
    command: Callable[[str, Acknowledge], Reply] | None = None
    screen: Screen | None = None
    on_drill: Callable[[], None] | None = None
    touched: bool = False  # the outputs are to be shown what has changed
    question: Question | None = None
    asks_to_pair: bool | None = None  # at the display; False = phones pair in a window; None = no Bluetooth
    window_until: float | None = None  # the end of that window
    _silenced_until: float | None = None
    _changed: float = 0.0
    _turned_s: float = 0.0
    _views: list[tuple[float, View]] = field(default_factory=list)
    _answered: bool = False

    # --- what is shown ----------------------------------------------------------------------------------------------

    def page_s(self, now: float) -> float:
        """Time on the pages of the display: 0 at the first one [s]."""
        return now - self._changed + self._turned_s

    def silenced(self, now: float) -> bool:
        return self._silenced_until is not None and now < self._silenced_until

    def asks(self, now: float) -> Sequence[str]:
        """The lines of the question that waits for an answer."""
        if self.question is not None and now - self.question.asked >= QUESTION_S:
            self._answer(False)
        return self.question.lines if self.question is not None else ()

    def shown(self, view: View, now: float) -> None:
        """This view was given to the outputs."""
        self._views = [*self._views[-7:], (now, view)]

    def changed(self, changes: Sequence[Change], now: float) -> None:
        """Alarms changed: a new or worse one comes first, sounds, and is no time to pair a phone."""
        if changes:
            self._changed, self._turned_s = now, 0.0
        if any(change.type in ("raised", "escalated", "drill") for change in changes):
            self._silenced_until = None
            self._answer(False)

    # --- what the person does ---------------------------------------------------------------------------------------

    def press(self, now: float) -> None:
        """The button was pressed shortly."""
        self.touched = True
        if self.question is not None:
            if now - self.question.asked >= REACTION_S:
                self._answer(True)
            return
        entry = self._seen(now - REACTION_S)
        if entry is None or entry.acknowledged or self.command is None:
            self._turned_s += PAGE_S - self.page_s(now) % PAGE_S
            return
        self.command(
            entry.device,
            Acknowledge(
                correlation_id=f"button-{entry.occurrence}-{entry.revision}",
                action="acknowledge",
                rule=entry.rule,
                channel=entry.channel,
                occurrence=entry.occurrence,
                revision=entry.revision,
                severity=entry.severity,
                by=f"button@{self.node}",
            ),
        )

    def hold(self, now: float) -> None:
        """The button is held for HOLD_S."""
        self.touched = True
        self._answered = self.question is not None
        if self._answered:
            self._answer(False)
        else:
            self._silenced_until = now + SILENCE_S

    def hold_longer(self) -> None:
        """The button is still held, for DRILL_S now."""
        if self.on_drill is not None and not self._answered:
            self.touched = True
            self.on_drill()

    def ask(self, lines: Sequence[str], answer: Callable[[bool], None], now: float) -> None:
        """Ask the person something; an earlier question that still waits is answered with no."""
        self._answer(False)
        self.touched, self.question = True, Question(lines, answer, now)
        self._changed, self._turned_s = now, 0.0  # it begins with the question

    def open_window(self, seconds: float, now: float) -> None:
        """Let phones pair for a time. Raises ValueError: that is not how this node pairs, and why."""
        if self.asks_to_pair is None:
            raise ValueError("this node has no Bluetooth (settings: alert.bluetooth)")
        if self.asks_to_pair:
            raise ValueError("this node asks at its display: pair from the phone and press the button")
        self.touched, self.window_until = True, now + seconds

    def withdraw(self, answer: Callable[[bool], None]) -> None:
        """The one who asked does not want to know any more."""
        if self.question is not None and self.question.answer == answer:
            self.touched, self.question = True, None

    def _answer(self, yes: bool) -> None:
        question, self.question = self.question, None
        if question is not None:
            self.touched = True
            question.answer(yes)

    def _seen(self, at: float) -> Entry | None:
        """The alarm that the person saw: on the display, or without one the worst that waits for an acknowledge."""
        if self.screen is not None and self.screen.fault is None:
            return self.screen.seen(at)
        earlier = [view for t, view in self._views if t <= at]
        return next((e for e in earlier[-1].alarms if not e.acknowledged), None) if earlier else None
