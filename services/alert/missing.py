"""Channels without a reading, or with a faulty one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from services.bus.messages import Values

LIMIT_S: Final = 5.0
PERIODS: Final = 3
GROUP: Final = 4  # more bad elements of one vector than this are one alarm about the vector, not a flood


def silence_limit(period_s: float) -> float:
    """How long nothing may come: max(5 s, 3 periods)."""
    return max(LIMIT_S, PERIODS * period_s)


@dataclass(frozen=True, slots=True)
class Gone:
    """A channel whose state changed. `quality`: the sensor's mark, or `missing`."""

    channel: str
    active: bool
    quality: str


@dataclass(slots=True)
class Missing:
    """Watches all channels of a layout.

    Args:
        what: `missing`: null without a reason; `fault`: marked `fault:..` or `range` by the sensor.
        limit_s: how long it may last.
        off_delay_s: how long a reading must be back before it counts.
        expected: channels of the layout; one that never came is missing. name -> is a vector.
    """

    what: Literal["missing", "fault"]
    limit_s: float
    off_delay_s: float = 0.0
    expected: Mapping[str, bool] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)  # bad since: last seen good, by channel
    active: dict[str, str] = field(default_factory=dict)  # raised, with its quality
    back: dict[str, float] = field(default_factory=dict)  # good again since
    before: float | None = None  # the last sample

    def update(self, t: float, channels: Mapping[str, Values], quality: Mapping[str, str]) -> list[Gone]:
        """Take one sample at `t` [s]; return what changed.

        What is bad now may have been so since the sample before, and what is not raised now waits for the next one:
        a limit of 5 s is reached at the fifth bad sample of 1 Hz, five seconds after the last good one.
        """
        step = min(max(t - self.before, 0.0), self.limit_s / PERIODS) if self.before is not None else 0.0
        self.before = t
        bad = self._faults(quality) if self.what == "fault" else self._nulls(channels, quality)
        if not bad and not self.since and not self.active:
            return []
        bad = self._grouped(bad)
        changes = []
        for channel, mark in bad.items():
            self.back.pop(channel, None)
            since = self.since.setdefault(channel, t - step)
            if channel not in self.active and t - since + step / 2 >= self.limit_s:
                self.active[channel] = mark
                changes.append(Gone(channel, True, mark))
        for channel in [c for c in self.since if c not in bad]:
            if channel not in self.active:
                del self.since[channel]
            elif t - self.back.setdefault(channel, t) >= self.off_delay_s:
                changes.append(Gone(channel, False, self.active.pop(channel)))
                del self.since[channel], self.back[channel]
        return changes

    def _faults(self, quality: Mapping[str, str]) -> dict[str, str]:
        return {c: q for c, q in quality.items() if q == "range" or q.startswith("fault:")} if quality else {}

    def _nulls(self, channels: Mapping[str, Values], quality: Mapping[str, str]) -> dict[str, str]:
        bad: dict[str, str] = {}
        for name in self.expected or channels:
            value = channels.get(name)
            if value is None:
                if not quality.get(name, "").startswith("fault:"):
                    bad[name] = "missing"
            elif isinstance(value, list) and None in value:
                for i, element in enumerate(value):
                    if element is None and not quality.get(f"{name}[{i}]", quality.get(name, "")).startswith("fault:"):
                        bad[f"{name}[{i}]"] = "missing"
        return bad

    def _grouped(self, bad: dict[str, str]) -> dict[str, str]:
        """Elements of one vector as one channel, when there are many or the vector already is bad as a whole."""
        elements: dict[str, list[str]] = {}
        for channel in bad:
            if channel.endswith("]"):
                elements.setdefault(channel.partition("[")[0], []).append(channel)
        for vector, names in elements.items():
            if len(names) > GROUP or vector in self.since:
                mark = bad.get(vector) or bad[names[0]]
                starts = [self.since[n] for n in names if n in self.since]
                if starts:
                    self.since.setdefault(vector, min(starts))
                for name in names:
                    del bad[name]
                bad[vector] = mark
        return bad

    def pause(self) -> None:
        """The clock of the samples starts anew."""
        self.since = dict.fromkeys(self.active, 0.0)
        self.back.clear()
        self.before = None

    def to_list(self) -> list[object]:
        return [self.since, self.active, self.back, self.before]

    def restore(self, state: list[object]) -> None:
        since, active, back, *rest = state
        self.before = rest[0] if rest else None  # type: ignore[assignment]
        self.since, self.active, self.back = dict(since), dict(active), dict(back)  # type: ignore[call-overload]
