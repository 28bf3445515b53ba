"""Channels without a reading or with a faulty one."""

from collections.abc import Mapping

from services.alert.missing import Gone, Missing, silence_limit
from services.bus.messages import Values


def run(missing: Missing, *rows: tuple[float, Mapping[str, Values], dict[str, str]]) -> list[tuple[float, Gone]]:
    return [(t, gone) for t, channels, quality in rows for gone in missing.update(t, channels, quality)]


def test_null_raises_after_the_limit_and_clears() -> None:
    rows = [(float(t), {"voltage": None if 2 <= t < 9 else 3.7}, dict[str, str]()) for t in range(12)]
    found = run(Missing("missing", 5.0, expected={"voltage": False}), *rows)
    assert [(t, g.channel, g.active) for t, g in found] == [(6.0, "voltage", True), (9.0, "voltage", False)]


def test_it_is_known_five_seconds_after_the_last_good_reading_however_samples_jitter() -> None:
    for jitter in (-0.02, 0.0, 0.02):
        rows = [(i + jitter * (i % 2), {"v": 3.7 if i < 3 else None}, dict[str, str]()) for i in range(12)]
        ((t, _),) = run(Missing("missing", 5.0), *rows)
        assert abs(t - 7.0) < 0.05  # last good at 2


def test_of_slow_samples_the_third_bad_one_raises() -> None:
    rows = [(30.0 * t, {"v": 3.7 if t < 3 else None}, dict[str, str]()) for t in range(9)]
    assert [t for t, _ in run(Missing("missing", silence_limit(30.0)), *rows)] == [150.0]


def test_after_a_pause_one_bad_sample_is_still_one() -> None:
    """A car is parked for a day between two samples."""
    values = ((0.0, 3.7), (86_400.0, None), (86_401.0, 3.7))
    assert not run(Missing("missing", 5.0), *[(t, {"v": value}, dict[str, str]()) for t, value in values])


def test_a_channel_of_the_layout_that_never_came_is_missing() -> None:
    rows = [(float(t), {"voltage": 3.7}, dict[str, str]()) for t in range(7)]
    found = run(Missing("missing", 5.0, expected={"voltage": False, "current": False}), *rows)
    assert [(t, g.channel) for t, g in found] == [(5.0, "current")]


def test_a_fault_is_not_counted_as_missing_too() -> None:
    rows = [(float(t), {"temperature_max": None}, {"temperature_max": "fault:crc"}) for t in range(9)]
    assert not run(Missing("missing", 5.0), *rows)
    found = run(Missing("fault", 5.0), *rows)
    assert [(t, g.quality) for t, g in found] == [(5.0, "fault:crc")]


def test_one_element_of_a_vector_alarms_by_itself() -> None:
    rows = [(float(t), {"cells": [3.7, None, 3.7]}, {"cells[1]": "fault:zero"}) for t in range(7)]
    found = run(Missing("fault", 5.0), *rows)
    assert [g.channel for _, g in found] == ["cells[1]"]


def test_many_elements_are_one_alarm_and_stay_one_while_they_come_back() -> None:
    """As car1 does: 46 cells lost at once, five of them back each second."""
    rows: list[tuple[float, Mapping[str, Values], dict[str, str]]] = []
    for t in range(14):
        bad = max(0, 46 - 5 * t)
        cells: list[float | None] = [66.5 if i < bad else 3.7 for i in range(96)]
        quality = {f"cells[{i}]": "range" for i in range(bad)}
        rows.append((float(t), {"cells": cells}, quality))
    found = run(Missing("fault", 5.0), *rows)
    assert [(t, g.channel, g.active) for t, g in found] == [(5.0, "cells", True), (10.0, "cells", False)]


def test_a_single_lost_frame_is_tolerated() -> None:
    rows = [(30.0 * t, {"voltage": None if t == 5 else 355.0}, dict[str, str]()) for t in range(20)]
    assert not run(Missing("missing", silence_limit(30.0)), *rows)


def test_off_delay_holds_a_flickering_channel_in_one_alarm() -> None:
    rows = [(float(t), {"v": None if t % 4 else 3.7}, dict[str, str]()) for t in range(40)]
    found = run(Missing("missing", 2.5, off_delay_s=10), *rows)
    assert [(t, g.active) for t, g in found] == [(3.0, True)]


def test_the_limit_is_five_seconds_or_three_periods() -> None:
    assert (silence_limit(1.0), silence_limit(30.0)) == (5.0, 90.0)
