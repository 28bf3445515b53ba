"""Which missing messages to ask for, and when. Pure: no broker, no database, no clock (`now` in s, any steady clock).

A hole counts below the boot's highest live seq, or after a quiet time: what lies above it is probably still on its
way. One request a stream is outstanding; a boot that brought nothing is asked again ever more seldom.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.bus.ranges import RangeSet
from services.ingest.rows import StreamKey

StreamName = tuple[str, str, str, str]  # node, device, kind, name
BACKOFF_MAX_S = 600.0
WITHHELD_MAX = 10_000  # streams; beyond it all are asked for once more
TIME = "time"  # what an undated message waits for; the others wait for a layout, `profile hash`


class Budget:
    """Token bucket: at most `rate` messages a second, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = float(burst), 0.0

    def available(self, now: float) -> int:
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        self._tokens -= count


@dataclass(slots=True)
class Outstanding:
    """A request under way: what of it has not come yet, and when we give up waiting for more."""

    key: StreamKey
    waiting: RangeSet
    deadline: float
    progress: bool = False


@dataclass(slots=True)
class Live:
    """What came live of one boot of a stream."""

    highest: int
    at: float


@dataclass(slots=True)
class Healing:
    """Decides over all streams.

    Args:
        started: time since which we listen; a stream not heard of is quiet `quiet_s` later [s].
        quiet_s: silence after which missing messages at the end count as holes [s].
        block: messages asked for at once.
        timeout_s: a request without progress is given up [s].
    """

    started: float
    budget: Budget
    quiet_s: float = 10.0
    block: int = 500
    timeout_s: float = 10.0
    _live: dict[StreamKey, Live] = field(default_factory=dict)
    _outstanding: dict[StreamName, Outstanding] = field(default_factory=dict)
    _failures: dict[StreamKey, int] = field(default_factory=dict)
    _not_before: dict[StreamKey, float] = field(default_factory=dict)
    _withheld: dict[StreamKey, dict[str, RangeSet]] = field(default_factory=dict)
    _undated: dict[StreamKey, RangeSet] = field(default_factory=dict)  # came without a time, whatever followed

    def live(self, key: StreamKey, seq: int, now: float) -> None:
        """A live message was stored."""
        seen = self._live.get(key)
        if seen is None:
            self._live[key] = Live(seq, now)
        else:
            seen.highest, seen.at = max(seen.highest, seq), now

    def answered(self, key: StreamKey, seqs: Iterable[tuple[int, int]], now: float, *, stored: bool) -> None:
        """Ranges of a block were stored, or (`stored` false) the publisher says that it does not have them."""
        request = self._outstanding.get(key[:4])
        if request is None or request.key != key:
            return
        for first, last in seqs:
            request.waiting.remove(first, last)
        request.deadline = now + self.timeout_s
        request.progress |= stored
        if not request.waiting:
            self._close(request, now)

    def withhold(self, key: StreamKey, seqs: Iterable[int], waits_for: str, now: float) -> None:
        """They came, and cannot be stored before something else comes: do not ask until it is `released`."""
        if key not in self._withheld and len(self._withheld) >= WITHHELD_MAX:
            self._withheld.clear()
        came = _ranges(seqs)
        self._withheld.setdefault(key, {}).setdefault(waits_for, RangeSet()).update(came)
        self.answered(key, came, now, stored=True)

    def undated(self, key: StreamKey, seqs: Iterable[int], now: float) -> RangeSet:
        """They came without a time: withheld at first. Returns those that came so before: their time never comes."""
        if key not in self._undated and len(self._undated) >= WITHHELD_MAX:
            self._undated.clear()
        came, before = _ranges(seqs), self._undated.setdefault(key, RangeSet())
        again = came.intersection(before)
        before.update(came)
        self.withhold(key, (seq for a, b in came.difference(again) for seq in range(a, b + 1)), TIME, now)
        return again

    def release(self, waits_for: str, keys: Iterable[StreamKey] | None = None) -> None:
        """What they waited for has come; ask again. `keys`: only these streams."""
        for key in list(self._withheld if keys is None else keys):
            reasons = self._withheld.get(key, {})
            if reasons.pop(waits_for, None) is not None and not reasons:
                del self._withheld[key]

    @property
    def withheld(self) -> int:
        """Messages that are not asked for until something else comes."""
        return sum(ranges.count for reasons in self._withheld.values() for ranges in reasons.values())

    def holes(self, key: StreamKey, missing: RangeSet, now: float) -> RangeSet:
        """The part of `missing` (announced or below the highest stored, not received, not lost) that counts."""
        for ranges in self._withheld.get(key, {}).values():
            missing = missing.difference(ranges)
        live = self._live.get(key)
        if now - (live.at if live else self.started) >= self.quiet_s:
            return missing
        if live is None or live.highest < 0:
            return RangeSet()
        return missing.intersection(RangeSet([(0, live.highest)]))

    def ask(self, key: StreamKey, missing: RangeSet, now: float, *, fresh: bool) -> RangeSet:
        """What to ask the publisher for now; empty = nothing. `fresh`: its heartbeat is."""
        request = self._outstanding.get(key[:4])
        if request is not None:
            if now < request.deadline:
                return RangeSet()
            self._close(request, now)
        if not fresh or now < self._not_before.get(key, now):
            return RangeSet()
        count = min(self.block, self.budget.available(now))
        wanted = self.holes(key, missing, now).head(count)
        if wanted and (wanted.count == self.block or wanted.count < count):  # no slivers while the budget refills
            self.budget.take(wanted.count)
            self._outstanding[key[:4]] = Outstanding(key, wanted.copy(), now + self.timeout_s)
            return wanted
        return RangeSet()

    def _close(self, request: Outstanding, now: float) -> None:
        del self._outstanding[request.key[:4]]
        if request.progress:
            self._failures.pop(request.key, None)
            self._not_before.pop(request.key, None)
            return
        failures = self._failures[request.key] = self._failures.get(request.key, 0) + 1
        self._not_before[request.key] = now + min(2.0**failures, BACKOFF_MAX_S)


def _ranges(seqs: Iterable[int]) -> RangeSet:
    return RangeSet((seq, seq) for seq in seqs)


@dataclass(slots=True)
class Confirmations:
    """What is stored and not yet confirmed, by boot of a stream."""

    every_s: float = 1.0
    count: int = 1000
    ranges_max: int = 400
    _pending: dict[StreamKey, RangeSet] = field(default_factory=dict)
    _at: dict[StreamKey, float] = field(default_factory=dict)

    def stored(self, key: StreamKey, ranges: Iterable[tuple[int, int]]) -> None:
        pending = self._pending.setdefault(key, RangeSet())
        for first, last in ranges:
            pending.add(first, last)

    def due(self, now: float) -> list[tuple[StreamKey, list[tuple[int, int]]]]:
        """What to confirm now; each range once."""
        result = []
        for key, pending in list(self._pending.items()):
            if now - self._at.get(key, -self.every_s) < self.every_s and pending.count < self.count:
                continue
            ranges = list(pending)[: self.ranges_max]
            for first, last in ranges:
                pending.remove(first, last)
            if not pending:
                del self._pending[key]
            self._at[key] = now
            result.append((key, ranges))
        return result
