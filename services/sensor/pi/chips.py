"""What all I2C chips have in common: the bus as the CircuitPython drivers want it, and how a chip fails."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

HELD: Final = frozenset({errno.ETIMEDOUT, errno.EAGAIN})  # a chip holds a wire low: no transfer on this bus ends
TRIES: Final = 2  # a transfer that noise has spoilt is repeated once
T = TypeVar("T")


class ChipFault(Exception):
    """A chip gave no reading. `reason`: as in the quality `fault:<reason>`.

    no_answer: nobody acknowledges the address; bus_locked: no transfer on the bus ends; reset: its configuration is not
    what was written (a brown-out); stuck: it does not convert, or cannot be seen to; timeout: a conversion did not end;
    wrong_chip: another chip answers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def transfers() -> Iterator[None]:
    """Inside, what the kernel says of a failed transfer becomes a ChipFault."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: the drivers' word for an address that nobody answers
        failed = error if isinstance(error, OSError) else error.__context__
        held = isinstance(failed, OSError) and failed.errno in HELD
        raise ChipFault("bus_locked" if held else "no_answer") from error


def patiently(attempt: Callable[[], T]) -> T:
    """Do it again if nobody answered: noise on the wire is over by then, a pulled wire is not."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except ChipFault as fault:
            if fault.reason != "no_answer":
                raise
    return attempt()


class LinuxI2C:
    """/dev/i2c-N as Blinka's drivers take it. They lock it while they talk.

    Blinka's own `board` is never imported: on a Pi 5 it may ask questions on the terminal.

    Raises:
        ChipFault: there is no such bus, or we may not open it (no_bus).
    """

    def __init__(self, number: int) -> None:
        from adafruit_blinka.microcontroller.generic_linux.i2c import I2C

        self._lock = threading.Lock()
        try:
            self._bus = I2C(number)
        except (OSError, RuntimeError) as error:  # RuntimeError: Blinka's word for a missing file
            raise ChipFault("no_bus") from error

    def try_lock(self) -> bool:
        return self._lock.acquire(blocking=False)

    def unlock(self) -> None:
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)  # writeto, readfrom_into, writeto_then_readfrom
