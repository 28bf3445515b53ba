"""Fewer points for the screen without losing a peak. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

MAX_POINTS: Final = 600
Value = float | None
Line = tuple[list[float], list[Value]]


def decimate(times: Sequence[float], values: Sequence[Value], max_points: int = MAX_POINTS) -> Line:
    """Keep the least and the greatest value of each bucket, in their order, and one None where it has a hole.

    Args:
        times: ascending, same length as `values`; None = no reading.
        max_points: how many points may be returned, >= 5.
    """
    n = len(times)
    if n != len(values):
        raise ValueError(f"{n} times, {len(values)} values")
    if n <= max_points:
        return list(times), list(values)
    buckets = (max_points - 2) // 3  # least, greatest and a hole each; first and last point besides
    kept = {0, n - 1}
    for b in range(buckets):
        least = greatest = hole = -1
        for i in range(b * n // buckets, (b + 1) * n // buckets):
            value = values[i]
            if value is None:
                hole = i
            elif least < 0:
                least = greatest = i
            elif value < values[least]:  # type: ignore[operator]
                least = i
            elif value > values[greatest]:  # type: ignore[operator]
                greatest = i
        kept.update(i for i in (least, greatest, hole) if i >= 0)
    order = sorted(kept)
    return [times[i] for i in order], [values[i] for i in order]


def with_gaps(times: Sequence[float], values: Sequence[Value], longest: float) -> Line:
    """Put a None where more than `longest` passes between two points, so that the line breaks there."""
    line: Line = ([], [])
    for i, (time, value) in enumerate(zip(times, values, strict=True)):
        if i and time - times[i - 1] > longest:
            line[0].append((time + times[i - 1]) / 2)
            line[1].append(None)
        line[0].append(time)
        line[1].append(value)
    return line


def usual_gap_s(times: Sequence[float]) -> float:
    """The pause that breaks a line whose period is not known: ten times the median one, at least 5 s."""
    steps = sorted(b - a for a, b in pairwise(times))
    return max(5.0, 10 * steps[len(steps) // 2]) if steps else 5.0
