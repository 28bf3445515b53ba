"""What an alarm output is: display, lamp, buzzer, button, Bluetooth, console, behind the same calls."""

from collections.abc import Sequence
from typing import Protocol

from services.alert.lcd import View
from services.alert.register import Change


class Output(Protocol):
    """Shows alarms to people at the node. No call waits for the hardware; what is wrong with it is `fault`.

    Attributes:
        name: `lcd`; the channel of the alarm about its fault.
    """

    name: str

    @property
    def fault(self) -> str | None:
        """What is wrong with it now; None = it works."""

    @property
    def drawn(self) -> Sequence[tuple[float, float]] | None:
        """When what was shown last was given and when it was done, steady clock [s]; None = it shows nothing."""

    def open(self) -> None:
        """Begin, on the running event loop."""

    def show(self, view: View) -> None:
        """Show this. Called each second, and at every change."""

    def changed(self, change: Change) -> None:
        """An alarm changed its state."""

    def close(self) -> None:
        """Leave the display in a state that does not look alive. Takes two seconds at most."""
