"""What set the wall clock."""

from pathlib import Path

import pytest

from services.bus.clock import _kernel_synchronized, time_source

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("now", "synchronized", "chip", "source"),
    [
        (0.0, True, True, "none"),  # 1970: never set, whatever the kernel believes
        (NOW, True, False, "ntp"),
        (NOW, False, True, "rtc"),
        (NOW, False, False, "none"),
    ],
)
def test_time_source(now: float, synchronized: bool, chip: bool, source: str, tmp_path: Path) -> None:
    rtc = tmp_path / "rtc0"
    if chip:
        rtc.touch()
    assert time_source(lambda: now, lambda: synchronized, rtc) == source


def test_the_kernel_answers() -> None:
    assert _kernel_synchronized() in (True, False)
    assert time_source() in ("ntp", "rtc", "none")
