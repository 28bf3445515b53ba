"""What an alarm output is: console, and later the LCD, the LED and Bluetooth, behind the same three calls."""

from collections.abc import Sequence
from typing import Protocol

from services.alert.lcd import Led
from services.alert.register import Change


class Output(Protocol):
    """Shows alarms to people at the node. An output that fails must not stop the others: `show` raises OSError only."""

    def show(self, frame: Sequence[str], led: Led) -> None:
        """Show a display frame: 4 lines of 20 characters. Called each second and at every change."""

    def changed(self, change: Change) -> None:
        """An alarm changed its state."""

    def close(self) -> None:
        """Leave the display in a state that does not look alive."""
