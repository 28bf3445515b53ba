"""A thread that drives one piece of hardware with the newest state only: hardware that hangs delays no alarm."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0  # between two attempts to reach hardware that failed
HANG_S: Final = 5.0  # a call that takes longer hangs
CLOSE_S: Final = 1.5
T = TypeVar("T")
S = TypeVar("S", contravariant=True)


class Device(Protocol[S]):
    """The hardware. Everything is called from one thread, and may raise what the driver raises."""

    def open(self) -> None:
        """Reach it, from whatever state it is in."""

    def draw(self, state: S) -> float | None:
        """Show the state; return after how many seconds to be called again with the same one, None = not."""

    def close(self) -> None:
        """Leave it dark, or saying that nobody drives it. Also called after an error, before the next open()."""


class Worker(Generic[T]):
    """Args: name: `lcd`; device: is only touched by the thread."""

    def __init__(self, name: str, device: Device[T]) -> None:
        self.name, self._device = name, device
        self.errors = 0
        self._state: list[tuple[T, float]] = []  # the newest one and when it came, if it is not drawn yet
        self.drawn: deque[tuple[float, float]] = deque(maxlen=64)  # (given, done) of what was drawn
        self._error: str | None = None
        self._busy_since: float | None = None
        self._stopping = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"output.{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, state: T) -> None:
        """Draw this as soon as possible; an older one that waits is dropped."""
        with self._wake:
            self._state = [(state, time.monotonic())]
            self._wake.notify()

    @property
    def fault(self) -> str | None:
        """What is wrong with the hardware now."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > HANG_S:
            return "it hangs"
        return self._error

    def stop(self) -> None:
        """End the thread; one that hangs is left behind (it dies with the process)."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        is_open, pause, state, told = False, None, list[tuple[T, float]](), 0.0
        while True:
            with self._wake:
                self._busy_since = None
                if not self._stopping and not self._state:
                    self._wake.wait(pause)
                if self._stopping:
                    break
                state, self._state = self._state or state, []
                self._busy_since = time.monotonic()
            if not state:
                continue
            try:
                if not is_open:
                    self._device.open()
                    is_open = True
                drawing, given = state[0]
                pause = self._device.draw(drawing)
                if given != told:
                    self.drawn.append((given, time.monotonic()))
                    told = given
                if self._error is not None:
                    log.info("output %s works", self.name)
                self._error = None
            except Exception as error:  # drivers raise all kinds
                self._failed(error)
                self._try_close()
                is_open = False
                self._pause()
                pause = 0.0
        if is_open:
            self._try_close()

    def _failed(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self.errors += 1
        if reason != self._error:
            log.warning("output %s: %s", self.name, reason)
        self._error = reason

    def _try_close(self) -> None:
        try:
            self._device.close()
        except Exception as error:
            log.debug("output %s: closing: %s", self.name, error)

    def _pause(self) -> None:
        """Before the next attempt; a new state does not shorten it."""
        end = time.monotonic() + RETRY_S
        with self._wake:
            self._busy_since = None
            while not self._stopping and (left := end - time.monotonic()) > 0:
                self._wake.wait(left)


class Driven(Generic[T]):
    """What outputs that draw by a thread share. Args: name: `lcd`; device: the hardware."""

    def __init__(self, name: str, device: Device[T]) -> None:
        self.name = name
        self._worker: Worker[T] = Worker(name, device)

    @property
    def fault(self) -> str | None:
        return self._worker.fault

    @property
    def drawn(self) -> Sequence[tuple[float, float]]:
        return tuple(self._worker.drawn)

    def open(self) -> None:
        self._worker.start()

    def changed(self, change: object) -> None:
        """The next picture shows it."""

    def close(self) -> None:
        self._worker.stop()
