"""docs/ble.md says what the code does."""

import re

from services.alert.outputs.ble.alarms import STATES
from services.alert.outputs.ble.attributes import PROBES, ours
from services.alert.outputs.ble.bluetooth import CLOCK_SET, NO_ALARM, REFUSED
from tests.alert.outputs.ble.table import PAGE, with_table


def test_the_table_is_the_present_one() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run python -m tests.alert.outputs.ble.table"


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for code in (CLOCK_SET, NO_ALARM, REFUSED):
        assert f"`{code:#04x}`" in page
    assert f"{PROBES} temperatures" in page
    states = ", ".join(f"{i} {state.replace('_', ' ')}" for i, state in enumerate(STATES))
    assert states.replace("rtn", "returned to normal") in page
    known = {ours(n) for n in range(1, 7)}
    assert set(re.findall(r"c6cd[0-9a-f]{4}-[0-9a-f-]+", page)) == known
