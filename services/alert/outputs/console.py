"""The display as a text file, and each alarm change as a line on standard output."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from services.alert.lcd import WIDTH, Led
from services.alert.register import Change
from services.bus.messages import format_time


class Console:
    """Args: path: of the frame file, replaced as a whole at each frame (a reader never sees half of it)."""

    def __init__(self, path: Path, stream: TextIO = sys.stdout) -> None:
        self._path, self._stream = path, stream

    def show(self, frame: Sequence[str], led: Led) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text("".join(f"{line}\n" for line in frame), encoding="ascii")
        os.replace(fresh, self._path)  # noqa: PTH105 - the atomic one

    def changed(self, change: Change) -> None:
        alarm = change.alarm
        raised = alarm["raised_at"] or format_time(change.when)
        print(
            f"{change.type:<14} {alarm['severity']:<8} {change.device} {change.rule} [{change.channel}] {alarm['text']}"
            f" (raised {raised}, {alarm['state']}{f', by {change.by}' if change.by else ''})",
            file=self._stream,
            flush=True,
        )

    def close(self) -> None:
        self.show(["stopped".ljust(WIDTH), *[" " * WIDTH] * 3], "AMBER")
