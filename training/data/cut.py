"""From recordings to windows: by the inference service's own reduction, so that a net is trained on what it will be
given; or row by row, for sources that are windows already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.bus.messages import Values
from services.inference.channels import ChannelReader, ChannelSpec
from services.inference.phase import Cell
from services.inference.reduce import Reducer
from services.inference.window import Windows as Assembler
from services.inference.window import WindowSteps
from training.data.errors import DataError
from training.data.runs import UNKNOWN, Floats, Run, Times, battery
from training.data.windows import Windows, join

SECONDS_PER_HOUR: Final = 3600.0
CHARGE: Final = "charge"  # counted since the run began, Ah


@dataclass(frozen=True, slots=True)
class WindowShape:
    """How windows are cut; the manifest's fields of these names."""

    step_s: float = 10.0
    window: int = 128
    stride: int = 16
    hole_max: int = 12
    holes_max: int = 32


def cut(run: Run, specs: Sequence[ChannelSpec], shape: WindowShape, cell: Cell | None = None) -> Windows:
    """A run's windows, as a bundle with these columns would be given them in service.

    What was held over a hole is NaN. Windows with a doubtful row have no label (-1).

    Args:
        specs: columns of the bundle.
        cell: of a bundle for single cells.
    Raises:
        DataError: the run lacks a channel that the bundle needs.
    """
    period = float(np.median(np.diff(run.time_s))) if len(run) > 1 else battery().period_s
    try:
        found = list(steps(run.time_s, run.channels, (0, len(run)), specs, shape, max(period, 0.001), cell))
    except ValueError as error:
        raise DataError(f"{run.source} {run.unit}", "channels", str(error)) from None
    size = (0, shape.window, len(specs))
    values = np.stack([window.values for window in found]) if found else np.zeros(size, np.float32)
    measured = np.stack([window.mask for window in found]) if found else np.zeros(size, np.float32)
    values[measured == 0] = np.nan
    doubtful = np.zeros(len(run), dtype=bool) if run.doubtful is None else run.doubtful
    label = [UNKNOWN if doubtful[w.first : w.last + 1].any() else run.label for w in found]
    start = np.array([run.time_s[window.first] for window in found], dtype=np.float64)
    return _labelled(run, values, tuple(spec.name for spec in specs), shape.step_s, label, start)


def steps(
    time: Times,
    channels: Mapping[str, Floats],
    rows: tuple[int, int],
    specs: Sequence[ChannelSpec],
    shape: WindowShape,
    period_s: float,
    cell: Cell | None = None,
) -> Iterator[WindowSteps]:
    """The service's windows of rows first..end; `first` and `last` of each count the rows of `time`.

    Raises:
        ValueError: a channel is missing, or the cell is not one for this bundle.
    """
    present = {name: (values.shape[1] if values.ndim == 2 else None) for name, values in channels.items()}
    reader = ChannelReader(specs, battery().layout(present, period_s))
    reducer = Reducer(specs, shape.step_s, period_s, shape.hole_max, cell)
    windows = Assembler(shape.window, shape.stride, shape.holes_max)
    mono = time - time[0]
    wanted = {spec.name for spec in specs if not spec.derived}
    for seq, sample in _samples({name: channels[name] for name in sorted(wanted)}, rows):
        for step in reducer.add(seq, float(mono[seq]), reader.read(sample, {})):
            window = windows.add(step)
            if window is not None:
                yield window


def _samples(channels: Mapping[str, Floats], rows: tuple[int, int]) -> Iterator[tuple[int, dict[str, Values]]]:
    """Rows as a sample's channels; NaN as None."""
    columns: dict[str, list[Any]] = {}
    for name, values in channels.items():
        part = values[rows[0] : rows[1]].astype(np.float64).astype(object)
        part[part != part] = None  # NaN
        columns[name] = part.tolist()
    names = list(columns)
    for seq, row in enumerate(zip(*columns.values(), strict=True), start=rows[0]):
        yield seq, dict(zip(names, row, strict=True))


def rows_as_steps(runs: Iterable[Run], columns: Sequence[str], step_s: float = 10.0) -> Windows:
    """Each run as one window, a row a step whatever its time: how DyAD reads its snippets.

    Args:
        columns: scalar channels, and `charge` (counted by the run's own time since it began, Ah).
        step_s: what a row is taken for [s].
    Raises:
        DataError: a run lacks a channel, or has another number of rows than the first; there is none.
    """
    made: list[Windows] = []
    for run in runs:
        table = [_counted(run) if name == CHARGE else run.channels.get(name) for name in columns]
        for name, values in zip(columns, table, strict=True):
            if values is None or values.ndim != 1:
                raise DataError(f"{run.source} {run.unit}", "channels", f"{name} is not measured")
        if made and len(run) != made[0].steps:
            raise DataError(f"{run.source} {run.unit}", "ragged", f"{len(run)} rows, the first has {made[0].steps}")
        window = np.stack([values for values in table if values is not None], axis=1)[None]
        label = UNKNOWN if run.doubtful is not None and run.doubtful.any() else run.label
        made.append(_labelled(run, window, tuple(columns), step_s, [label], run.time_s[:1]))
    return join(made)


def _counted(run: Run) -> Floats:
    """Ah since the run began, the current held until the next row; a missing one counts as the last known."""
    if "current" not in run.channels:
        raise DataError(f"{run.source} {run.unit}", "channels", "charge is counted from current, which is not measured")
    current = run.channels["current"].astype(np.float64)
    known = np.maximum.accumulate(np.where(np.isnan(current), 0, np.arange(len(current))))
    current = np.nan_to_num(current[known])
    moved = current[:-1] * np.diff(run.time_s) / SECONDS_PER_HOUR
    return np.concatenate([[0.0], np.cumsum(moved)]).astype(np.float32)


def _labelled(
    run: Run, values: Floats, columns: tuple[str, ...], step_s: float, label: Sequence[int], start: Times
) -> Windows:
    n = len(values)
    return Windows(
        values=values,
        columns=columns,
        step_s=step_s,
        source=np.full(n, run.source),
        group=np.full(n, run.group),
        unit=np.full(n, run.unit),
        label=np.array(label, dtype=np.int8),
        fault=np.full(n, run.fault),
        size=np.full(n, run.size, dtype=np.float32),
        start_s=start,
    )
