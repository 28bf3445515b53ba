"""The display as a text file, and each alarm change as a line on standard output."""

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from services.alert.lcd import WIDTH, View, frame
from services.alert.register import Change
from services.bus.messages import format_time


class Console:
    """Args: path: of the frame file, rewritten in place each second.

    One small write to one page: replacing the file each second wrote some 350 MB a day to the card.
    """

    name = "console"

    def __init__(self, path: Path, stream: TextIO = sys.stdout) -> None:
        self._path, self._stream = path, stream
        self._file: int | None = None
        self.fault: str | None = None
        self.drawn: deque[tuple[float, float]] = deque(maxlen=8)

    def open(self) -> None:
        """The file is opened when there is something to write."""

    def show(self, view: View) -> None:
        given = time.monotonic()
        self._write(frame(view))
        if self.fault is None:
            self.drawn.append((given, time.monotonic()))

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
        self._write(["stopped".ljust(WIDTH), *[" " * WIDTH] * 3])
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, lines: list[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode("ascii")
        try:
            if self._file is not None and not os.fstat(self._file).st_nlink:  # somebody removed it
                os.close(self._file)
                self._file = None
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            os.pwrite(self._file, content, 0)
            self.fault = None
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror}"
