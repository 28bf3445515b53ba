"""Samples as JSON columns. Pure: from layouts to SQL expressions, from rows to bytes.

Numbers are float32 in the store and leave as the shortest text of that (355.2, not 355.20001220703125): orjson writes
numpy's float32 so. NaN, which is how a null comes out of numpy, is written as null.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from services.bus.messages import LayoutChannel

EXPRESSIONS_MAX = 1500  # PostgreSQL takes 1664 columns in a query


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel stands in `channels` of each layout: first place, counted from 1."""

    name: str
    length: int | None
    at: Mapping[int, int]

    def slot(self, array: str, offset: int = 0) -> str:
        """SQL of one element."""
        return self._by_layout(lambda first: f"{array}[{first + offset}]")

    def part(self, array: str) -> str:
        """SQL of the scalar, or of the whole vector."""
        if self.length is None:
            return self.slot(array)
        length = self.length
        return self._by_layout(lambda first: f"{array}[{first}:{first + length - 1}]")

    def _by_layout(self, expression: Any) -> str:
        layouts: dict[int, list[int]] = defaultdict(list)
        for layout, first in self.at.items():
            layouts[first].append(layout)
        cases = [
            f"WHEN layout IN ({', '.join(map(str, sorted(ids)))}) THEN {expression(first)}"
            for first, ids in sorted(layouts.items())
        ]
        return f"CASE {' '.join(cases)} END"


def places(layouts: Iterable[tuple[int, Sequence[LayoutChannel]]]) -> dict[str, Place]:
    """Channel name -> its places, in the order of the layouts. Of two lengths of a vector the greater is shown."""
    at: dict[str, dict[int, int]] = {}
    lengths: dict[str, int | None] = {}
    for layout, channels in layouts:
        first = 1
        for channel in channels:
            known = lengths.setdefault(channel.name, channel.length)
            if (known is None) == (channel.length is None):
                at.setdefault(channel.name, {})[layout] = first
                lengths[channel.name] = None if channel.length is None else max(known or 0, channel.length)
            first += channel.length or 1
    return {name: Place(name, lengths[name], where) for name, where in at.items()}


def raw_page(
    profile: str,
    rows: Sequence[Sequence[Any]],
    channels: Sequence[Place],
    boots: Mapping[int, str],
    following: str | None,
) -> bytes:
    """JSON of a page of samples; a row is (stream, microseconds, seq, quality as JSON text, one a channel..)."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * (4 + len(channels))
    streams, times, seqs, qualities = columns[:4]
    return _dump(
        {
            "profile": profile,
            "resolution_s": 0,
            "ts": time_texts(times),
            "boot": [boots[stream] for stream in streams],
            "seq": seqs,
            "channels": {
                place.name: _reals(column, place.length) for place, column in zip(channels, columns[4:], strict=True)
            },
            "quality": {str(at): orjson.Fragment(text) for at, text in enumerate(qualities) if text is not None},
            "next": following,
        }
    )


def rollup_columns(channels: Sequence[Place]) -> list[str]:
    """SQL of low, high and mean of each channel's elements, over the rows of one time."""
    expressions = []
    for place in channels:
        for offset in range(place.length or 1):
            low, high, mean, n = (place.slot(array, offset) for array in ("low", "high", "mean", "n"))
            expressions += [
                f"min({low})",
                f"max({high})",
                f"(sum(({mean})::float8 * {n}) / nullif(sum({n}), 0))::real",
            ]
    return expressions


def rollup_page(
    profile: str, resolution_s: int, rows: Sequence[Sequence[Any]], channels: Sequence[Place], following: str | None
) -> bytes:
    """JSON of a page of rollups; a row is (microseconds, low, high, mean of each element of each channel..)."""
    width = 3 * sum(place.length or 1 for place in channels)
    columns = list(zip(*rows, strict=True)) if rows else [()] * (1 + width)
    content: dict[str, Any] = {}
    at = 1
    for place in channels:
        length = place.length or 1
        three = []
        for which in range(3):
            elements = [_reals(columns[at + 3 * offset + which], None) for offset in range(length)]
            three.append(elements[0] if place.length is None else np.ascontiguousarray(np.stack(elements, axis=1)))
        content[place.name] = dict(zip(("min", "max", "mean"), three, strict=True))
        at += 3 * length
    page = {"profile": profile, "resolution_s": resolution_s, "ts": time_texts(columns[0]), "channels": content}
    return _dump(page | {"quality": {}, "next": following})


def time_texts(microseconds: Sequence[int]) -> list[str]:
    """ISO 8601 UTC with milliseconds and a Z."""
    times = np.array(microseconds, dtype=np.int64).astype("datetime64[us]").astype("datetime64[ms]")
    texts: list[str] = np.datetime_as_string(times, timezone="UTC").tolist()
    return texts


def _reals(column: Sequence[Any], length: int | None) -> Any:
    if length is None:
        return np.array(column, dtype=np.float32)
    empty = [None] * length
    try:
        return np.array([row or empty for row in column], dtype=np.float32).reshape(len(column), -1)
    except ValueError:  # layouts with different lengths
        return [np.array(row or empty, dtype=np.float32) for row in column]


def _dump(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
