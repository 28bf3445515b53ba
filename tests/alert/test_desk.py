"""One button: what it does to which alarm."""

from typing import Any

import pytest

from services.alert.desk import QUESTION_S, SILENCE_S, Desk
from services.alert.engine import Engine, Now
from services.alert.lcd import PAGE_S, Entry, View
from services.alert.register import Change
from services.bus.messages import Acknowledge, Reply
from tests.alert.builders import at, judge, sample, shipped
from tests.alert.test_lcd import entry


class Screen:
    """A display on which a test puts alarms."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.entry: Entry | None = None

    def seen(self, at: float) -> Entry | None:
        return self.entry


class Commands:
    """Notes what is commanded."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Acknowledge]] = []

    def __call__(self, device: str, command: Acknowledge) -> Reply:
        self.given.append((device, command))
        return Reply(correlation_id=command.correlation_id, status="done")


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def desk(commands: Commands) -> Desk:
    return Desk("pi", commands)


def view(*alarms: Any) -> View:
    return View(alarms, [], "08:15:02", 0)


HOT = entry(occurrence="01JC", revision=3)
SEEN = entry(rule="cell_spread", occurrence="01JB", acknowledged=True, state="acknowledged_active")


def test_a_press_acknowledges_what_is_on_the_display_and_names_it(desk: Desk, commands: Commands) -> None:
    desk.screen = screen = Screen()
    desk.shown(view(SEEN, HOT), 0.0)
    screen.entry = HOT
    desk.press(10.0)
    ((device, command),) = commands.given
    assert (device, command.rule, command.occurrence, command.revision) == ("pack-1", "over_temperature", "01JC", 3)
    assert (command.severity, command.channel, command.by) == ("critical", "temperature_max", "button@pi")


@pytest.mark.parametrize("page", [SEEN, None])
def test_a_press_on_another_page_turns_it(desk: Desk, commands: Commands, page: Entry | None) -> None:
    desk.screen = screen = Screen()
    screen.entry = page
    desk.changed([change("raised")], 100.0)
    desk.press(101.0)
    assert commands.given == []
    assert desk.touched
    assert desk.page_s(101.0) == PAGE_S
    desk.press(101.5)
    assert desk.page_s(101.5) == 2 * PAGE_S
    desk.changed([change("raised")], 102.0)
    assert desk.page_s(102.0) == 0.0


def test_without_a_display_a_press_is_for_the_worst_that_waits(desk: Desk, commands: Commands) -> None:
    desk.shown(view(SEEN, HOT), 0.0)
    desk.press(1.0)
    assert [c.occurrence for _, c in commands.given] == ["01JC"]


def test_a_broken_display_shows_nothing(desk: Desk, commands: Commands) -> None:
    desk.screen = screen = Screen()
    screen.fault = "Remote I/O error"
    desk.shown(view(HOT), 0.0)
    desk.press(1.0)
    assert len(commands.given) == 1


def test_what_has_just_appeared_was_not_seen(desk: Desk, commands: Commands) -> None:
    desk.shown(view(), 0.0)
    desk.shown(view(HOT), 1.0)
    desk.press(1.2)
    assert commands.given == []
    desk.press(1.4)
    assert len(commands.given) == 1


def test_the_engine_takes_it_once_and_refuses_it_when_things_got_worse() -> None:
    engine = Engine("pi", shipped(), 0.0)
    desk = Desk("pi")

    def command(device: str, command: Acknowledge) -> Reply:
        reply, _ = engine.command(device, command, Now(9.0, at(9).timestamp()))
        replies.append(reply)
        return reply

    replies: list[Reply] = []
    desk.command = command
    judge(engine, *(sample(t, temperature_max=65.0) for t in range(4)))
    seen = shown(engine)
    judge(engine, sample(4, temperature_max=85.0), sample(5, temperature_max=85.0), sample(6, temperature_max=85.0))
    desk.shown(view(seen), 0.0)
    desk.press(5.0)
    assert (replies[0].status, replies[0].reason) == ("refused", "severity has risen to critical")
    desk.shown(view(shown(engine)), 5.0)
    desk.press(6.0)
    desk.press(6.0)
    assert [r.status for r in replies[1:]] == ["done", "done"]
    assert engine.register.alarms["pack-1", "over_temperature"]["temperature_max"].acknowledged


def shown(engine: Engine) -> Entry:
    device, rule, channel, machine = engine.register.annunciated()[0]
    revision = engine.register.revisions[device, rule]
    return Entry.of(device, channel, machine, engine.rules.by_name()[rule], revision)


def change(kind: str) -> Change:
    return Change("pack-1", "over_temperature", "temperature_max", kind, "01JC", 1, None, None, 0.0, 0.0, {})


@pytest.mark.parametrize("kind", ["raised", "escalated"])
def test_holding_silences_until_something_new_or_two_minutes(desk: Desk, kind: str) -> None:
    desk.hold(10.0)
    assert desk.silenced(10.0 + SILENCE_S - 0.1)
    assert not desk.silenced(10.0 + SILENCE_S)
    desk.hold(200.0)
    desk.changed([change("acknowledged"), change("cleared")], 201.0)
    assert desk.silenced(201.0)
    desk.changed([change(kind)], 202.0)
    assert not desk.silenced(202.0)


class TestQuestion:
    @pytest.fixture
    def answers(self, desk: Desk) -> list[bool]:
        answers: list[bool] = []
        desk.ask(["Pair phone?", "482913"], answers.append, 10.0)
        return answers

    def test_a_press_is_yes(self, desk: Desk, answers: list[bool], commands: Commands) -> None:
        assert desk.asks(11.0) == ["Pair phone?", "482913"]
        desk.press(12.0)
        assert answers == [True]
        assert desk.asks(12.0) == ()
        assert commands.given == []

    def test_a_press_that_came_with_it_is_no_answer(self, desk: Desk, answers: list[bool]) -> None:
        desk.press(10.1)
        assert answers == []

    def test_holding_is_no_and_neither_silence_nor_drill(self, desk: Desk, answers: list[bool]) -> None:
        drills: list[int] = []
        desk.on_drill = lambda: drills.append(1)
        desk.hold(12.0)
        desk.hold_longer()
        assert answers == [False]
        assert not desk.silenced(12.0)
        assert drills == []
        desk.hold(20.0)
        desk.hold_longer()
        assert drills == [1]

    def test_nobody_there_is_no(self, desk: Desk, answers: list[bool]) -> None:
        assert desk.asks(10.0 + QUESTION_S) == ()
        assert answers == [False]

    def test_an_alarm_is_no(self, desk: Desk, answers: list[bool]) -> None:
        desk.changed([change("raised")], 11.0)
        assert answers == [False]

    def test_a_second_question_answers_the_first_with_no(self, desk: Desk, answers: list[bool]) -> None:
        desk.ask(["other"], answers.append, 12.0)
        assert answers == [False]

    def test_who_asked_may_withdraw(self, desk: Desk, answers: list[bool]) -> None:
        desk.withdraw(answers.append)
        desk.withdraw(answers.append)
        assert desk.asks(11.0) == ()
        assert answers == []


def test_a_window_is_only_opened_where_it_is_how_phones_pair(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no Bluetooth"):
        desk.open_window(120.0, 10.0)
    desk.asks_to_pair = True
    with pytest.raises(ValueError, match="asks at its display"):
        desk.open_window(120.0, 10.0)
    desk.asks_to_pair = False
    desk.open_window(120.0, 10.0)
    assert desk.window_until == 130.0
