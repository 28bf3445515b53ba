"""What the pack detector learns from and is judged on: spans of the ev-fault vehicles, and the simulated fleet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from services.inference.channels import ChannelSpec
from training.data import ev_fault
from training.data import simulated as fleets
from training.data.cut import WindowShape, cut
from training.data.runs import HEALTHY, Run
from training.data.windows import Windows, join
from training.models.pack import CHANNELS
from training.models.snippets import Snippets, scaled
from training.simulation.fleet import Fleet

SPANS: Final[Mapping[str, tuple[float, float]]] = {"train": (0.0, 0.6), "threshold": (0.6, 0.8), "test": (0.8, 1.0)}
"""Parts of a vehicle's healthy recording, by rows, in order of time. A window over a border belongs to none."""
TRAIN_STRIDE: Final = 4  # steps; training windows overlap more than judged ones
PERIOD_MAX_S: Final = 30.0  # the slowest of the vehicles


def part_of(run: Run, first: int, end: int) -> Run:
    """Those rows of a run."""
    return replace(
        run,
        time_s=run.time_s[first:end],
        channels={name: values[first:end] for name, values in run.channels.items()},
        doubtful=None if run.doubtful is None else run.doubtful[first:end],
    )


def spans(run: Run) -> Iterator[tuple[str, Run]]:
    """A healthy recording's parts by name; of any other the whole, as `late`."""
    if run.label != HEALTHY:
        yield "late", run
        return
    for name, (begin, end) in SPANS.items():
        first, last = round(begin * len(run)), round(end * len(run))
        if last - first > 1:
            yield name, part_of(run, first, last)


def vehicles(path: Path, specs: Sequence[ChannelSpec], shape: WindowShape) -> dict[str, Windows]:
    """The ev-fault vehicles' windows by span; those of training at a stride of TRAIN_STRIDE.

    Raises:
        DataError, SourceError: no file, or one that cannot be read.
    """
    found: dict[str, list[Windows]] = {}
    for run in ev_fault.load(path):
        for name, part in spans(run):
            form = replace(shape, stride=TRAIN_STRIDE) if name == "train" else shape
            found.setdefault(name, []).append(cut(part, specs, form))
    return {name: join(sets) for name, sets in found.items()}


def simulated(fleet: Fleet, stride: int = fleets.STRIDE) -> Windows:
    """The fleet's windows with the columns of CHANNELS, as the service gives them."""
    return fleets.as_channels(fleets.windows(fleet, stride), CHANNELS)


def healthy(windows: Windows) -> Windows:
    return windows.select(windows.label == HEALTHY)


def snippets(windows: Windows, specs: Sequence[ChannelSpec], share: float = 1.0) -> Snippets:
    """Scaled; each vehicle is drawn as the root of its windows, all together `share`."""
    window, mask = scaled(windows.filled(), windows.mask, [s.offset for s in specs], [s.scale for s in specs])
    names, count = np.unique(windows.group, return_counts=True)
    weight = count[np.searchsorted(names, windows.group)].astype(np.float32) ** -0.5 if len(windows) else np.zeros(0)
    weight = weight * (share / weight.sum()) if len(windows) else weight
    return Snippets(window, mask, torch.from_numpy(weight.astype(np.float32)), torch.full((len(window),), float("nan")))
