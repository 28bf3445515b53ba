"""Spread and gates."""

import pytest

from services.alert.gate import Gate
from services.alert.spread import spread_of


@pytest.mark.parametrize(
    ("channels", "quality", "expected"),
    [
        ({"cells": [3.7, 3.75, 3.6]}, {}, 0.15),
        ({"cells": [3.7, 66.5, 3.6]}, {"cells[1]": "range"}, 0.1),
        ({"cells": [3.7, None, 3.6]}, {"cells[1]": "fault:zero"}, 0.1),
        ({"cells": [3.7, None]}, {}, None),
        ({"cells": [3.7, 3.6]}, {"cells": "range"}, None),
        ({}, {}, None),
    ],
)
def test_spread_of_a_vector_takes_good_elements_only(
    channels: dict[str, list[float | None]], quality: dict[str, str], expected: float | None
) -> None:
    assert spread_of(("cells",), dict(channels), quality) == pytest.approx(expected)


def test_spread_of_scalars() -> None:
    assert spread_of(("a", "b"), {"a": 3.8, "b": 3.6}, {}) == pytest.approx(0.2)
    assert spread_of(("a", "b"), {"a": 3.8, "b": 3.6}, {"b": "suspect"}) is None


def test_a_gate_opens_after_its_time_and_closes_at_once() -> None:
    gate = Gate("current", -5, 5, for_s=2)
    states = [gate.open(t, {"current": c}, {}) for t, c in enumerate([0, 1, 2, -40, 0, 0, 0])]
    assert states == [False, False, True, False, False, False, True]


def test_a_gate_is_closed_without_a_good_reading() -> None:
    gate = Gate("current", -5, 5)
    assert not gate.open(0, {}, {})
    assert not gate.open(0, {"current": None}, {})
    assert not gate.open(0, {"current": 1.0}, {"current": "suspect"})
    assert Gate("current", 0, 5, absolute=True).open(0, {"current": -4.0}, {})
