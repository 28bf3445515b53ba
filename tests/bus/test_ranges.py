"""RangeSet against Python's sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.ranges import Range, RangeSet

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), RANGES), max_size=30)
NUMBERS = st.sets(st.integers(0, 60))


def numbers(ranges: RangeSet) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


def of(values: set[int]) -> RangeSet:
    return RangeSet((n, n) for n in values)


def check_shape(ranges: RangeSet) -> None:
    """Ascending, disjoint, not adjacent."""
    pairs = list(ranges)
    assert all(first <= last for first, last in pairs)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(pairs))


@given(STEPS)
def test_it_holds_what_a_set_would(steps: list[tuple[str, Range]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for step, (first, last) in steps:
        if step == "add":
            ranges.add(first, last)
            model |= set(range(first, last + 1))
        else:
            ranges.remove(first, last)
            model -= set(range(first, last + 1))
        check_shape(ranges)
        assert numbers(ranges) == model
        assert ranges.count == len(model)
        assert ranges.highest == max(model, default=-1)
        assert bool(ranges) == bool(model)


@given(NUMBERS, NUMBERS)
def test_set_arithmetic(a: set[int], b: set[int]) -> None:
    for result, model in (
        (of(a).difference(of(b)), a - b),
        (of(a).intersection(of(b)), a & b),
        (of(a).update(of(b)), a | b),
    ):
        check_shape(result)
        assert numbers(result) == model
    assert (of(a) == of(b)) == (a == b)


@given(NUMBERS, st.integers(0, 70))
def test_membership_and_head(values: set[int], number: int) -> None:
    ranges = of(values)
    assert (number in ranges) == (number in values)
    assert numbers(ranges.head(number)) == set(sorted(values)[:number])


@given(NUMBERS)
def test_a_copy_goes_its_own_way(values: set[int]) -> None:
    ranges = of(values)
    ranges.copy().add(100)
    assert numbers(ranges) == values


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (5, 4)])
def test_a_reversed_or_negative_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="reversed or negative"):
        RangeSet().add(first, last)
