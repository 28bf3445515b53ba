"""Which phone may pair. Over D-Bus the agent asks here.

With display and button a person compares the number on the phone with the one on the display and presses the button:
numeric comparison, so that nobody between the two can listen. Without them a phone may pair only while its owner holds
a window open (a command), and only phones that paired in one are listened to.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from services.alert.desk import Desk

WINDOW_S: Final = 120.0


class Pairing:
    """Args: secure: there is a display and a button; clock: steady [s]."""

    def __init__(self, desk: Desk, secure: bool, clock: Callable[[], float]) -> None:
        self.secure, self._desk, self._clock = secure, desk, clock
        self._answer: asyncio.Future[bool] | None = None
        self.trusted: set[str] = set()  # paths of devices

    @property
    def open(self) -> bool:
        """A phone may pair now."""
        until = self._desk.window_until
        return self.secure or (until is not None and self._clock() < until)

    async def confirm(self, device: str, number: int) -> bool:
        """Ask the person whether the phone shows this number."""
        if not self.secure:
            return self.open
        self.cancel()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answer = answer

        def answered(yes: bool) -> None:
            if not answer.done():
                answer.set_result(yes)

        lines = ("Pair phone?", f"Does it show {number:06d}?", "press=yes  hold=no")
        self._desk.ask(lines, answered, self._clock())
        try:
            return await answer
        finally:
            self._desk.withdraw(answered)

    def allow(self, device: str) -> bool:
        """A phone that can show nothing wants to pair."""
        return not self.secure and self.open

    def cancel(self) -> None:
        """The phone has given up."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)

    def listens_to(self, device: str) -> bool:
        """Whether a write of this phone counts. BlueZ has seen to its encryption (and, secure, authentication)."""
        return self.secure or device in self.trusted
