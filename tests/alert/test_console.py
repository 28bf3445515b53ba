"""The console output: frame file and alarm lines."""

import io
from pathlib import Path

from services.alert.engine import Engine
from services.alert.outputs.console import Console
from tests.alert.builders import judge, sample, shipped


def test_the_frame_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    console = Console(tmp_path / "deep" / "lcd.txt", io.StringIO())
    for mark in "*+":
        console.show([f"GREEN OK  08:15:02 {mark}", "a" * 20, "b" * 20, "c" * 20], "GREEN")
    assert (tmp_path / "deep" / "lcd.txt").read_text().splitlines()[0] == "GREEN OK  08:15:02 +"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["lcd.txt"]
    console.close()
    assert (tmp_path / "deep" / "lcd.txt").read_text().startswith("stopped")


def test_each_change_is_one_line(tmp_path: Path) -> None:
    lines = io.StringIO()
    console = Console(tmp_path / "lcd.txt", lines)
    for change in judge(Engine("pi", shipped(), 0.0), *(sample(t, temperature_max=65.0) for t in range(3))):
        console.changed(change)
    assert lines.getvalue() == (
        "raised         high     pack-1 over_temperature [temperature_max] Hottest probe 65.0 degC, limit 60.0 degC"
        " (raised 2026-11-21T08:00:02.000Z, unacknowledged_active)\n"
    )
