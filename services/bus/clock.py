"""What set the wall clock. A Pi without a clock battery boots in the past; a sample says how far its time is good."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from services.bus.messages import TimeSource

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_BUILT = 1_767_225_600.0  # 2026-01-01: a clock before this was never set
_libc = ctypes.CDLL(None, use_errno=True)


def _kernel_synchronized() -> bool:
    """adjtimex(2) with modes 0 only reads; struct timex is 208 bytes on 64-bit Linux."""
    return int(_libc.adjtimex(ctypes.create_string_buffer(256))) not in (-1, _TIME_ERROR)


def time_source(
    now: Callable[[], float] = time.time,
    synchronized: Callable[[], bool] = _kernel_synchronized,
    rtc: Path = Path("/dev/rtc0"),
) -> TimeSource:
    """`ntp` when the kernel's clock is disciplined, `rtc` when it was set by a clock chip (or a virtual machine's
    host) to a plausible time, else `none`."""
    if now() < _BUILT:
        return "none"
    if synchronized():
        return "ntp"
    return "rtc" if rtc.exists() else "none"
