"""The display frame."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.alert.lcd import MARKS, PAGE_S, Entry, View, frame, led
from services.bus.messages import SEVERITIES, Estimated

READINGS = {"voltage": 355.2, "current": -46.1, "soc": 0.61, "temperature_max": 31.0, "cell_spread": 0.024}


def entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "severity": "critical",
        "device": "pack-1",
        "rule": "over_temperature",
        "channel": "temperature_max",
        "state": "unacknowledged_active",
        "value": 110.0,
        "limit": 80.0,
        "unit": "degC",
        "digits": 1,
    }
    return Entry(**(fields | changes))


def test_without_alarm_it_shows_the_readings_and_a_green_lamp() -> None:
    assert frame(View([], [("pack-1", READINGS)], "08:15:02", 0)) == [
        "GREEN OK     08:15 *",
        "pack-1              ",
        "355.2V -46.1A       ",
        "31C 61% d24mV       ",
    ]


def test_the_worst_alarm_comes_first_with_value_and_limit() -> None:
    assert frame(View([entry()], [("pack-1", READINGS)], "08:15:02", 1)) == [
        "RED   1/1    08:15 +",
        "!!!over temperature ",
        "pack-1              ",
        "110.0/80.0degC UNACK",
    ]


def test_pages_rotate_and_a_new_alarm_begins_at_the_first() -> None:
    alarms = [entry(), entry(rule="cell_spread", severity="medium")]
    rules = [
        frame(View(alarms, [("pack-1", READINGS)], "08:15:02", t, float(t)))[1].strip()
        for t in range(0, 4 * PAGE_S, PAGE_S)
    ]
    assert rules == ["!!!over temperature", "!cell spread", "pack-1", "!!!over temperature"]


def test_the_mark_moves_each_second() -> None:
    marks = [frame(View([], [], "08:15:02", t))[0][-1] for t in range(8)]
    assert marks == list(MARKS) * 2
    assert all(a != b for a, b in pairwise(marks))


def test_a_silent_device_shows_no_old_values() -> None:
    lines = frame(View([], [("pack-1", None)], "08:15:02", 0))
    assert [line.strip() for line in lines[1:]] == ["pack-1", "no data", "no alarm"]


def test_the_lamp_follows_the_worst_severity() -> None:
    assert [led(["low", s]) for s in SEVERITIES] == ["AMBER", "AMBER", "RED", "RED"]
    assert led([]) == "GREEN"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            entry,
            severity=st.sampled_from(SEVERITIES),
            device=st.text(max_size=70),
            channel=st.text(max_size=70),
            value=st.one_of(st.none(), st.floats(-1e9, 1e9)),
            limit=st.one_of(st.none(), st.floats(-1e9, 1e9)),
            unit=st.text(max_size=5),
        ),
        max_size=12,
    ),
    st.integers(0, 10_000),
    st.floats(0, 10_000),
)
def test_any_view_gives_four_lines_of_twenty_readable_characters(
    alarms: list[Entry], second: int, since: float
) -> None:
    lines = frame(View(alarms, [("päck", READINGS), ("x", None)], "08:15:02", second, since))
    assert [len(line) for line in lines] == [20] * 4
    assert all(" " <= c <= "~" for line in lines for c in line)


def test_estimates_have_pages_of_their_own_with_errors_and_units() -> None:
    known = {
        "soc": Estimated(value=0.612, error=0.021),
        "capacity": Estimated(value=2.45, error=0.05),
        "leak_current": Estimated(value=0.0193, error=0.0011),
        "resistance": Estimated(value=0.0412, error=0.0003),
        "something_new": Estimated(value=1.0),
    }
    pages = [
        frame(View([], [("pack-1", READINGS)], "08:15:02", 0, float(t), estimates={"pack-1": known}))[1:]
        for t in range(0, 4 * PAGE_S, PAGE_S)
    ]
    assert pages[1] == ["pack-1 est.         ", "SoC 61+-2%          ", "cap. 2.45+-0.05Ah   "]
    assert pages[2] == ["pack-1 est.         ", "leak 19.3+-1.1mA    ", "R 41.2+-0.3mohm     "]
    assert pages[3][0] == "pack-1              "  # the readings again
    assert pages[0] == pages[3]


def test_without_an_error_and_in_whole_units() -> None:
    known = {"leak_current": Estimated(value=1.5), "temperature_rate": Estimated(value=-0.002, error=0.0004)}
    lines = frame(View([], [], "08:15:02", 0, 0.0, estimates={"a-device-with-a-long-name": known}))
    assert lines[1:] == ["a-device-with-a est.", "leak 1.50+-0.00A    ", "dT/s -2.0+-0.4mK    "]
