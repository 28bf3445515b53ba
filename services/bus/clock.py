"""What set the wall clock. A Pi without a clock battery boots in the past; a sample says how far its time is good."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.bus.messages import TimeSource

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized
_BUILT: Final = 1_767_225_600.0  # 2026-01-01: a clock before this was never set
_AGREE_S: Final = 60.0  # clock chip and system clock, at most
_SYNCHRONIZED: Final = Path("/run/systemd/timesync/synchronized")
"""Made by systemd-timesyncd at its first success after the machine started. The kernel calls a clock unsynchronized
again after some hours without a time server, when it is a second off."""
_RTC: Final = Path("/sys/class/rtc/rtc0/since_epoch")
_PEER: Final = Path("/run/emberwatch/clock-set")
"""Made when a phone has set the clock; in memory, so that the next start of the machine does not know it."""
_libc = ctypes.CDLL(None, use_errno=True)


def _kernel_synchronized() -> bool:
    """adjtimex(2) with modes 0 only reads; struct timex is 208 bytes on 64-bit Linux."""
    return int(_libc.adjtimex(ctypes.create_string_buffer(256))) not in (-1, _TIME_ERROR)


def time_source(
    now: Callable[[], float] = time.time,
    synchronized: Callable[[], bool] = _kernel_synchronized,
    rtc: Path = _RTC,
    stamp: Path = _SYNCHRONIZED,
    peer: Path = _PEER,
) -> TimeSource:
    """`ntp` when a time server has set the clock, `rtc` when a clock chip (or a virtual machine's host) did to a
    plausible time, `peer` when a phone did, else `none`.

    A Pi 5 has a chip but, as sold, no battery for it: then the chip starts at 1970, and the system at the last time
    that it wrote down. So a chip counts only if it shows the same time as the system.
    """
    wall = now()
    if wall < _BUILT:
        return "none"
    if synchronized() or stamp.exists():
        return "ntp"
    unset: TimeSource = "peer" if peer.exists() else "none"
    try:
        chip = float(rtc.read_text())
    except (OSError, ValueError):
        return unset
    return "rtc" if abs(chip - wall) <= _AGREE_S else unset


def _set_clock(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, seconds)


def set_from_peer(
    seconds: float,
    source: Callable[[], TimeSource] = time_source,
    set_clock: Callable[[float], None] = _set_clock,
    peer: Path = _PEER,
) -> str | None:
    """Set this computer's clock to a phone's time [s since 1970], if nothing else has set it; returns why not."""
    if (known := source()) not in ("none", "peer"):
        return f"the clock is set already ({known})"
    if seconds < _BUILT:
        return "that time is over"
    try:
        peer.parent.mkdir(parents=True, exist_ok=True)
        set_clock(seconds)
        peer.touch()
    except OSError as error:  # needs CAP_SYS_TIME
        return f"not allowed: {error.strerror}"
    return None
