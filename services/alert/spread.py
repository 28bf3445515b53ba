"""Spread: the difference between the highest and the lowest of like readings. Pure."""

from collections.abc import Mapping, Sequence
from typing import cast

from services.alert.suspect import Trust, trust
from services.bus.messages import Value, Values


def spread(values: Sequence[Value], bad: Mapping[int, str] | None = None) -> float | None:
    """Highest minus lowest of the good values (`bad` gives the quality of those that are not); None of fewer than 2."""
    good = [v for i, v in enumerate(values) if trust(v, bad.get(i) if bad else None) is Trust.GOOD and v is not None]
    return max(good) - min(good) if len(good) > 1 else None


def spread_of(names: Sequence[str], channels: Mapping[str, Values], quality: Mapping[str, str]) -> float | None:
    """Spread of one vector channel, or of several scalar ones (highest minus lowest of those that are good)."""
    if len(names) > 1:
        values = [cast(Value, channels.get(n)) for n in names]
        return spread(values, {i: quality[n] for i, n in enumerate(names) if n in quality})
    vector = channels.get(names[0])
    if not isinstance(vector, list) or names[0] in quality:
        return None
    bad = (
        {i: quality[f"{names[0]}[{i}]"] for i in range(len(vector)) if f"{names[0]}[{i}]" in quality} if quality else {}
    )
    return spread(vector, bad)
