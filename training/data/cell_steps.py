"""Recordings of single cells as the steps that a bundle for cells sees, by the inference service's own reduction.

No torch: the command `evaluate` reads data by this module.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.inference.channels import ChannelSpec
from services.inference.phase import Cell
from services.inference.reduce import Reducer
from services.inference.window import Domain, Windows, WindowSteps
from training.data.runs import Run

CELLS: Final = {  # as the isc_ncm set names its chemistries; nominal capacities by its currents (1 C)
    "NCM811": Cell(capacity_ah=2.9, chemistry="NMC811"),
    "NCM523": Cell(capacity_ah=2.4, chemistry="NMC523"),
}
PERIOD_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Cut:
    """How steps become windows: the manifest's fields of these names."""

    step_s: float = 10.0
    window: int = 128
    stride: int = 128
    hole_max: int = 12
    holes_max: int = 32


def windows_of(
    run: Run,
    specs: Sequence[ChannelSpec],
    cut: Cut,
    cell: Cell,
    domain: Domain | None = None,
    shift_s: float = 0.0,
    period_s: float = PERIOD_S,
) -> Iterator[WindowSteps | None]:
    """Windows of one recorded charge or discharge; None in place of one that was passed over.

    Args:
        shift_s: where in a step the recording begins; in service it may be anywhere.
        period_s: of the recording.
    """
    reducer = Reducer(specs, cut.step_s, period_s, cut.hole_max, cell)
    windows = Windows(cut.window, cut.stride, cut.holes_max, domain)
    names = [spec.name for spec in specs]
    voltage, current = names.index("voltage"), names.index("current")
    row: list[float | None] = [None] * len(specs)
    passed_over = 0
    readings = zip(
        (run.time_s - run.time_s[0] + shift_s).tolist(),
        run.channels["voltage"].tolist(),
        run.channels["current"].tolist(),
        strict=True,
    )
    for seq, (mono, volts, amperes) in enumerate(readings):
        row[voltage] = volts if volts == volts else None
        row[current] = amperes if amperes == amperes else None
        for step in reducer.add(seq, mono, row):
            window = windows.add(step)
            if window is not None:
                yield window
            elif windows.passed_over > passed_over:
                yield None
            passed_over = windows.passed_over


@dataclass(frozen=True, slots=True)
class Phases:
    """All steps of many charges and discharges, one after another.

    values: (steps, columns), physical units. Of each phase: first (its first step), length, and what its run is.
    """

    values: NDArray[np.float32]
    first: NDArray[np.intp]
    length: NDArray[np.intp]
    unit: NDArray[np.str_]
    group: NDArray[np.str_]
    cell: NDArray[np.str_]
    ohm: NDArray[np.float64]
    """Of the resistor; infinite without one."""

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, which: NDArray[np.intp]) -> NDArray[np.intp]:
        """Steps of these phases."""
        return np.concatenate([np.arange(self.first[i], self.first[i] + self.length[i]) for i in which])


def phases_of(runs: Iterable[Run], specs: Sequence[ChannelSpec], step_s: float, hole_max: int) -> Phases:
    """Steps of recorded charges and discharges of known cells (CELLS).

    Raises:
        KeyError: a run of another chemistry.
    """
    names = [spec.name for spec in specs]
    voltage, current = names.index("voltage"), names.index("current")
    parts: list[NDArray[np.float32]] = []
    about: list[tuple[str, str, str, float]] = []
    for run in runs:
        reducer = Reducer(specs, step_s, PERIOD_S, hole_max, CELLS[str(run.facts["chemistry"])])
        row: list[float | None] = [None] * len(specs)
        mono = (run.time_s - run.time_s[0]).tolist()
        steps: list[list[float]] = []
        readings = zip(mono, run.channels["voltage"].tolist(), run.channels["current"].tolist(), strict=True)
        for seq, (at, row[voltage], row[current]) in enumerate(readings):
            for step in reducer.add(seq, at, row):
                if step.number == 0:
                    steps = []  # the phase before it was a short one of the other direction
                steps.append(step.values)
        if steps:
            parts.append(np.array(steps, dtype=np.float32))
            ohm = run.size if run.label == 1 else float("inf")
            about.append((run.unit, run.group, str(run.facts["cell"]), ohm))
    length = np.array([len(part) for part in parts], dtype=np.intp)
    first = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.intp)
    unit, group, cell = (np.array([row[i] for row in about], dtype=np.str_) for i in range(3))
    return Phases(np.concatenate(parts), first, length, unit, group, cell, np.array([row[3] for row in about]))
