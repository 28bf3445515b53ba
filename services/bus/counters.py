"""Named counts that a service shows in its status: every refusal, loss and repair is one of them."""

import math


class Counters:
    """Counters and gauges by name. Not thread-safe: use it from the event loop."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def add(self, name: str, number: float = 1) -> None:
        self._values[name] = self._values.get(name, 0) + number

    def set(self, name: str, value: float) -> None:
        self._values[name] = value

    def __getitem__(self, name: str) -> float:
        return self._values.get(name, 0)

    def as_dict(self) -> dict[str, float]:
        """All that a status can carry: a gauge that is NaN or infinite is left out."""
        return {name: value for name, value in self._values.items() if math.isfinite(value)}
