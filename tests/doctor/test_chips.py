"""Which chips the settings name, and whether each answers."""

from collections.abc import Iterator
from pathlib import Path

from services.doctor import chips

WIRING = {
    "i2c": {"bus": 1},
    "chips": {"adc": {"address": 0x48}, "odd": {"address": "28-00"}},
    "lcd": [{"address": 0x27}],
}


def test_addresses_are_found_wherever_they_stand() -> None:
    assert list(chips.named(WIRING)) == [("chips.adc", 0x48), ("lcd[0]", 0x27)]


def test_who_does_not_answer_is_named() -> None:
    found = list(chips.look(Path("/dev/i2c-1"), chips.named(WIRING), lambda bus, address: address == 0x48))
    assert [(c.name, c.state) for c in found] == [("chips.adc (0x48)", "good"), ("lcd[0] (0x27)", "missing")]
    assert "i2cdetect -y -r 1" in found[1].repair


def test_a_bus_that_is_not_there(tmp_path: Path) -> None:
    def one() -> Iterator[tuple[str, int]]:
        yield "adc", 0x48

    (check,) = chips.look(tmp_path / "i2c-1", one())
    assert (check.state, check.found) == ("missing", f"{tmp_path}/i2c-1: No such file or directory")
