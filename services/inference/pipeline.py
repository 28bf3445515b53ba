"""One device through one bundle: samples in, windows to judge out. Pure."""

from collections.abc import Iterator
from typing import Any

from services.bus.messages import Layout, Sample
from services.inference.bundle import Bundle
from services.inference.channels import ChannelReader
from services.inference.phase import Cell
from services.inference.reduce import Reducer
from services.inference.window import Windows, WindowSteps, checkpoint


class Pipeline:
    """Assembles windows of one device and one process start (`boot`) of its sensor.

    Args:
        cell: what the settings say of the device, if it is a single cell.
    Raises:
        ValueError: the device cannot be judged by this bundle; says why.
    """

    def __init__(self, bundle: Bundle, layout: Layout, boot: str, cell: Cell | None = None) -> None:
        manifest = bundle.manifest
        if manifest.of_cell and any(c.name == "cell_voltages" and (c.length or 1) > 1 for c in layout.channels):
            raise ValueError("a pack of several cells, and the bundle judges one")
        if layout.period_s > manifest.period_max_s:
            raise ValueError(
                f"sampled each {layout.period_s:g} s; {manifest.id} judges up to {manifest.period_max_s:g} s"
            )
        self.bundle, self.layout, self.boot = bundle, layout, boot
        self._reader = ChannelReader(manifest.channels, layout)
        self._reducer = Reducer(manifest.channels, manifest.step_s, layout.period_s, manifest.hole_max, cell)
        self._needed = 0
        self.before: Sample | None = None  # the sample before the present one: the last of a window in hand
        self._windows = Windows(manifest.window, manifest.stride, manifest.holes_max, manifest.domain)

    def add(self, sample: Sample) -> Iterator[WindowSteps]:
        """Take the next sample, seq ascending; yield the windows that it completes, mostly none.

        Exhaust it. While a window is in hand, `state()` is that of "this one is judged, later ones are not".
        """
        if sample.seq < self._needed:
            return
        row = self._reader.read(sample.channels, sample.quality)
        for step in self._reducer.add(sample.seq, sample.mono, row, sample.next_s):
            window = self._windows.add(step)
            if window is not None:
                yield window
        self.before = sample

    @property
    def passed_over(self) -> int:
        """Windows with too many holes, or unlike anything in training, so far."""
        return self._windows.passed_over

    @property
    def out_of_domain(self) -> int:
        """Those of them that are unlike anything in training."""
        return self._windows.out_of_domain

    def state(self) -> dict[str, Any]:
        """What a new process needs to go on (JSON-able)."""
        return {
            "bundle": self.bundle.manifest.id,
            "layout": self.layout.hash,
            "boot": self.boot,
            "at": self._windows.resume(self._reducer),
        }

    def restore(self, state: dict[str, Any]) -> int | None:
        """Go on from `state`; return the first seq needed; None when it is of another bundle, layout or boot."""
        if (state["bundle"], state["layout"], state["boot"]) != (self.bundle.manifest.id, self.layout.hash, self.boot):
            return None
        opening = checkpoint(state["at"])
        if opening is None:
            return None
        self._reducer.restore(opening)
        self._needed = opening.seq
        return opening.seq
