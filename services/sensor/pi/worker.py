"""A thread that measures at its own rate, so that a slow or hanging device delays no other.

Not asyncio.to_thread: its pool is shared and waited for at exit; a driver that hangs in the kernel would take both.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.sensor.source import Reading

log = logging.getLogger(__name__)

PHASE: Final = 0.25  # of a period: a round begins so much before the row is due
PAUSE_S: Final = 0.02  # between two rounds that are late already


class Worker(threading.Thread):
    """Calls `measure` each period until it is stopped, and hands on what it gives.

    Args:
        period_s: of the rounds, unless they are paced otherwise.
        lead: begin this part of a period before the rows' grid (multiples of the period on the steady clock); None =
            as soon as the last round is over, but at most once a period (a probe that converts all the time).
        measure: one round; blocks. What it raises is a bug: logged, and the channels are `fault:driver`.
        failed: the readings of a round that raised.
        put: takes readings; called in this thread.
    """

    def __init__(
        self,
        name: str,
        period_s: float,
        lead: float | None,
        measure: Callable[[], Sequence[Reading]],
        failed: Callable[[], Sequence[Reading]],
        put: Callable[[Sequence[Reading]], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._period_s = period_s
        self._measure, self._failed, self._put = measure, failed, put
        self._lead_s = None if lead is None else lead * period_s
        self._called, self._stopped = threading.Event(), False
        self._complained = -math.inf

    def stop(self) -> None:
        self._stopped = True
        self._called.set()

    def pace(self, period_s: float) -> None:
        """Rounds come so often from now on."""
        if period_s != self._period_s:
            self._period_s = period_s
            self._called.set()

    def _wait(self, begun: float) -> None:
        """Until the next round is due, or it is time to stop."""
        while not self._stopped and self._called.wait(self._pause(begun, time.monotonic())):
            self._called.clear()

    def run(self) -> None:
        begun = -math.inf
        while True:
            self._wait(begun)
            if self._stopped:
                return
            begun = time.monotonic()
            try:
                readings = self._measure()
            except Exception:
                readings = self._failed()
                if begun - self._complained > 60:
                    self._complained = begun
                    log.exception("%s: a round failed", self.name)
            if self._stopped:
                return
            self._put(readings)

    def _pause(self, begun: float, now: float) -> float:
        """How long to wait for the next round [s]."""
        if begun == -math.inf:
            return 0.0
        if self._lead_s is None:
            return max(begun + self._period_s - now, PAUSE_S)
        shift = self._lead_s
        at = (math.floor((begun + shift) / self._period_s + 0.5) + 1) * self._period_s - shift
        while at < now:
            at += self._period_s
        return at - now
