"""Sets of sequence numbers kept as sorted ranges. Pure; the arithmetic of receipts, holes and backfill."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self

Range = tuple[int, int]  # first and last, both included


class RangeSet:
    """A set of integers >= 0 as disjoint, non-adjacent, ascending ranges (first, last), both ends included.

    Adding in order is O(1); anywhere else O(number of ranges).
    """

    __slots__ = ("_first", "_last")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> Self:
        """Add first..last (last defaults to first). Raises ValueError on a negative or reversed range."""
        last = first if last is None else last
        if first < 0 or last < first:
            raise ValueError(f"range {first}..{last} is reversed or negative")
        if self._last and first == self._last[-1] + 1:  # the hot path: the next number
            self._last[-1] = last
            return self
        low = bisect_left(self._last, first - 1)  # first range that touches or follows
        high = bisect_right(self._first, last + 1)  # past the last range that touches
        if low < high:
            first, last = min(first, self._first[low]), max(last, self._last[high - 1])
        self._first[low:high], self._last[low:high] = [first], [last]
        return self

    def remove(self, first: int, last: int | None = None) -> Self:
        """Remove first..last, whatever part of it is there."""
        last = first if last is None else last
        low, high = bisect_left(self._last, first), bisect_right(self._first, last)
        if low >= high:
            return self
        keep = [(self._first[low], first - 1), (last + 1, self._last[high - 1])]
        keep = [(a, b) for a, b in keep if a <= b]
        self._first[low:high] = [a for a, _ in keep]
        self._last[low:high] = [b for _, b in keep]
        return self

    def update(self, other: "RangeSet") -> Self:
        for first, last in other:
            self.add(first, last)
        return self

    def difference(self, other: "RangeSet") -> "RangeSet":
        result = self.copy()
        for first, last in other:
            result.remove(first, last)
        return result

    def intersection(self, other: "RangeSet") -> "RangeSet":
        return self.difference(self.difference(other))

    def copy(self) -> "RangeSet":
        result = RangeSet()
        result._first, result._last = self._first.copy(), self._last.copy()
        return result

    def head(self, count: int) -> "RangeSet":
        """The lowest `count` numbers of the set."""
        result = RangeSet()
        for first, last in self:
            if count <= 0:
                break
            last = min(last, first + count - 1)
            result.add(first, last)
            count -= last - first + 1
        return result

    @property
    def highest(self) -> int:
        """The highest number, or -1 of an empty set."""
        return self._last[-1] if self._last else -1

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._last, number)
        return at < len(self._first) and self._first[at] <= number

    def __iter__(self) -> Iterator[Range]:
        return zip(self._first, self._last, strict=True)

    def __len__(self) -> int:
        """How many ranges (not how many numbers: that is `count`)."""
        return len(self._first)

    def __bool__(self) -> bool:
        return bool(self._first)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._first == other._first and self._last == other._last

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
