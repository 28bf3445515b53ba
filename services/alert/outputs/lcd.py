"""The character display as an output: pages by panel.py, drawn by a thread of its own."""

from collections import deque
from collections.abc import Callable

from services.alert.lcd import Entry, View
from services.alert.outputs.panel import Picture, Shown, panel
from services.alert.outputs.worker import Device, Driven


class Lcd(Driven[Shown]):
    """Args: display: draws pictures; columns, rows: its size; clock: steady [s]."""

    def __init__(self, display: Device[Picture], columns: int, rows: int, clock: Callable[[], float]) -> None:
        self._size = columns, rows
        self._pages = _Pages(display, clock)
        super().__init__("lcd", self._pages)

    def show(self, view: View) -> None:
        self._worker.put(panel(view, *self._size))

    def seen(self, at: float) -> Entry | None:
        """The alarm that stood on the display at a steady time [s]; None = a page without one, or nothing yet."""
        return next((entry for t, entry in reversed(tuple(self._pages.drawn)) if t <= at), None)


class _Pages:
    """Draws, and remembers what has stood on the display since when."""

    def __init__(self, display: Device[Picture], clock: Callable[[], float]) -> None:
        self._display, self._clock = display, clock
        self.drawn: deque[tuple[float, Entry | None]] = deque(maxlen=16)

    def open(self) -> None:
        self._display.open()

    def draw(self, state: Shown) -> None:
        if not self.drawn or _alarm(self.drawn[-1][1]) != _alarm(state.entry):
            self.drawn.append((self._clock(), None))  # half of each: nobody has read it
        self._display.draw(state.picture)
        self.drawn.append((self._clock(), state.entry))

    def close(self) -> None:
        self._display.close()


def _alarm(entry: Entry | None) -> tuple[str, ...] | None:
    """Which alarm it is: each second has an entry of its own, with what is measured then."""
    return (entry.device, entry.rule, entry.channel, entry.occurrence) if entry is not None else None
