"""What set the wall clock."""

from pathlib import Path

import pytest

from services.bus.clock import _kernel_synchronized, time_source

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
    assert time_source(lambda: now, lambda: synchronized, rtc, stamp) == source


def test_the_kernel_answers() -> None:
    assert _kernel_synchronized() in (True, False)
    assert time_source() in ("ntp", "rtc", "none")
