"""The drawn wiring is that of its tables, and agrees with the page beside it."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from xml.etree import ElementTree

import pytest

from services.bus.settings import ROOT

FOLDER = ROOT / "docs" / "hardware"


@pytest.fixture(scope="module")
def wiring() -> ModuleType:
    spec = spec_from_file_location("wiring", FOLDER / "wiring.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_drawing_is_up_to_date(wiring: ModuleType) -> None:
    assert (FOLDER / "wiring.svg").read_text() == wiring.draw()
    ElementTree.fromstring(wiring.draw())


def test_every_wire_ends_at_a_named_pin_and_no_signal_is_used_twice(wiring: ModuleType) -> None:
    used: dict[str, set[str]] = {}
    for part in wiring.PARTS:
        for terminal, pin, _ in part.wires:
            used.setdefault(wiring.PI[pin], set()).add(f"{part.title} {terminal}")
    shared = {"GPIO 2 SDA", "GPIO 3 SCL", "GND", "3.3 V", "5 V"}
    assert {name for name, ends in used.items() if len(ends) > 1} <= shared


def test_the_page_names_the_pins_that_are_drawn(wiring: ModuleType) -> None:
    page = (FOLDER / "wiring.md").read_text()
    drawn = {t: wiring.PI[p].removeprefix("GPIO ") for part in wiring.PARTS for t, p, _ in part.wires}
    told = re.search(
        r"lamp: \{green: (\d+), amber: (\d+), red: (\d+)\}\n  button: \{pin: (\d+)\}\n  buzzer: \{pin: (\d+)\}", page
    )
    assert told is not None
    assert told.groups() == tuple(drawn[t] for t in ("green", "amber", "red", "1", "+"))


def test_the_divider_keeps_its_input_below_the_supply() -> None:
    page = (FOLDER / "wiring.md").read_text()
    told = re.search(r"R1 = (\d+) kOhm, R2 = (\d+) kOhm: (\d+) V gives ([\d.]+) V", page)
    assert told is not None
    r1, r2, most, at_input = map(float, told.groups())
    assert at_input == pytest.approx(most * r2 / (r1 + r2), abs=0.01)
    assert at_input < 3.3
