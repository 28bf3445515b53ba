"""The console output: frame file and alarm lines."""

import io
from pathlib import Path

from services.alert.engine import Engine
from services.alert.lcd import View
from services.alert.outputs.console import Console
from tests.alert.builders import judge, sample, shipped


def test_the_frame_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    console = Console(tmp_path / "deep" / "lcd.txt", io.StringIO())
    for second in range(2):
        console.show(View([], [], "08:15:02", second))
    assert (tmp_path / "deep" / "lcd.txt").read_text().splitlines()[0] == "GREEN OK     08:15 +"
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


def test_a_file_that_cannot_be_written_is_a_fault_until_it_can(tmp_path: Path) -> None:
    console = Console(tmp_path / "folder", io.StringIO())
    (tmp_path / "folder").mkdir()
    console.show(View([], [], "08:15:02", 0))
    assert console.fault == f"{tmp_path / 'folder'}: Is a directory"
    (tmp_path / "folder").rmdir()
    console.show(View([], [], "08:15:02", 0))
    assert console.fault is None
    console.close()
