"""What set the wall clock."""

from pathlib import Path

import pytest

from services.bus.clock import _kernel_synchronized, set_from_peer, time_source
from services.bus.messages import TimeSource

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("now", "synchronized", "stamped", "chip", "source"),
    [
        (0.0, True, True, "0", "none"),  # 1970: never set, whatever the kernel believes
        (NOW, True, False, None, "ntp"),
        (NOW, False, True, None, "ntp"),  # a time server set it, hours ago
        (NOW, False, False, f"{NOW + 2:.0f}\n", "rtc"),
        (NOW, False, False, "73", "none"),  # a chip without a battery: the system's time is the last one written down
        (NOW, False, False, f"{NOW + 3600:.0f}", "none"),
        (NOW, False, False, "", "none"),
        (NOW, False, False, None, "none"),
    ],
)
def test_time_source(
    now: float, synchronized: bool, stamped: bool, chip: str | None, source: str, tmp_path: Path
) -> None:
    rtc, stamp = tmp_path / "since_epoch", tmp_path / "synchronized"
    if chip is not None:
        rtc.write_text(chip)
    if stamped:
        stamp.touch()
    assert time_source(lambda: now, lambda: synchronized, rtc, stamp, tmp_path / "no") == source


def test_the_kernel_answers() -> None:
    assert _kernel_synchronized() in (True, False)
    assert time_source() in ("ntp", "rtc", "peer", "none")


def test_a_phone_sets_a_clock_that_nothing_else_has_set(tmp_path: Path) -> None:
    wall, peer, none = [0.0], tmp_path / "run" / "clock-set", tmp_path / "none"

    def source() -> TimeSource:
        return time_source(lambda: wall[0], lambda: False, none, none, peer)

    def set_clock(seconds: float) -> None:
        wall[0] = seconds

    assert source() == "none"
    assert set_from_peer(1.0, source, set_clock, peer) == "that time is over"
    assert set_from_peer(NOW, source, set_clock, peer) is None
    assert (wall[0], source()) == (NOW, "peer")
    assert set_from_peer(NOW + 5, source, set_clock, peer) is None, "another phone may know better"


@pytest.mark.parametrize("known", ["ntp", "rtc"])
def test_a_phone_does_not_change_a_clock_that_is_set(known: TimeSource, tmp_path: Path) -> None:
    def never(seconds: float) -> None:
        raise AssertionError

    why = set_from_peer(NOW, lambda: known, never, tmp_path / "clock-set")
    assert why == f"the clock is set already ({known})"


def test_who_may_not_set_the_clock_says_so(tmp_path: Path) -> None:
    def refuse(seconds: float) -> None:
        raise PermissionError(1, "Operation not permitted")

    peer = tmp_path / "clock-set"
    assert set_from_peer(NOW, lambda: "none", refuse, peer) == "not allowed: Operation not permitted"
    assert not peer.exists()
