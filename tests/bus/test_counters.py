"""Counters."""

import math

from services.bus.counters import Counters


def test_counting_and_setting() -> None:
    counters = Counters()
    counters.add("rejected")
    counters.add("rejected", 2)
    counters.set("journal_bytes", 10)
    assert (counters["rejected"], counters["journal_bytes"], counters["never"]) == (3, 10, 0)


def test_a_gauge_that_json_cannot_carry_is_left_out_of_the_status() -> None:
    counters = Counters()
    counters.set("ratio", math.nan)
    counters.set("speed", math.inf)
    counters.set("good", 1)
    assert counters.as_dict() == {"good": 1}
