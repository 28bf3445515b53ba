"""Leak by charge balance over a recorded cycle of isc_ncm: five folds by protocol; renews the committed calibration.

In each fold the end-point correction is fitted to healthy cycles of the other folds' protocols, and is on or off by
what it says of protocols left out among those. Three readings are judged by one threshold over all protocols: the
balance as it is, corrected, and corrected less the median of the cell's own other healthy cycles of the protocol.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from training.data.isc_ncm import NOT_CONNECTED, OPEN_CYCLE, SAME_CELL, load
from training.data.runs import Run
from training.data.splits import folds
from training.evaluation.charge_balance import (
    COMMITTED,
    Cycle,
    Phase,
    calibrate,
    fit_if_it_helps,
    kind,
    less_own,
    read_cycle,
)
from training.evaluation.isc_ncm import FAULTY_CELL, Scored, contrasts, counts, intervals

Floats = NDArray[np.float64]


class Config(BaseModel):
    """Folds, and where the calibration goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(5, ge=2)
    seed: int = 0
    draws: int = Field(2000, ge=10, description="Of the bootstrap over protocols.")
    calibration: Path = Field(COMMITTED, description="The fit to all protocols, which `evaluate` uses.")


class Rows:
    """All cycles of the set, one entry a run."""

    def __init__(self, runs: list[Run], cycles: list[Cycle]) -> None:
        self.cycles = cycles
        self.unit = np.array([run.unit for run in runs])
        self.protocol = np.array([run.group for run in runs])
        self.cell = np.array([str(run.facts["cell"]) for run in runs])
        self.family = np.array([str(run.facts["family"]) for run in runs])
        self.kind = np.array([kind(str(run.facts["chemistry"]), str(run.facts["family"])) for run in runs])
        self.ohm = np.array([run.size if run.label == 1 else np.inf for run in runs])
        self.healthy = (self.cell != FAULTY_CELL) | (self.ohm >= SAME_CELL)
        self.closed = np.array([not cycle.open for cycle in cycles])

    def calibrated_on(self, keep: NDArray[np.bool_]) -> dict[str, Any]:
        rows = np.nonzero(keep & self.healthy)[0]
        return {
            "cycles": [self.cycles[i] for i in rows],
            "kinds": self.kind[rows].tolist(),
            "protocols": self.protocol[rows].tolist(),
        }

    def scored(self, leak: Floats, keep: NDArray[np.bool_]) -> Scored:
        keep = keep & self.closed
        return Scored(leak[keep], self.unit[keep], self.protocol[keep], self.cell[keep], self.ohm[keep])


def study(config: Config, data: Path, console: Console) -> dict[str, Any]:
    """Judge the balance on protocols that no fit has seen; write the calibration of all of them."""
    rows = read(data / "isc_ncm")
    raw = np.array([c.ah / c.hours if not c.open else np.nan for c in rows.cycles])
    corrected, r2 = raw.copy(), {}
    strata = dict(zip(rows.protocol.tolist(), rows.kind.tolist(), strict=True))
    for number, fold in enumerate(folds(strata, config.folds, config.seed, strata), 1):
        train, test = np.isin(rows.protocol, fold.train), np.isin(rows.protocol, fold.test)
        calibration = calibrate(**rows.calibrated_on(train))
        for i in np.nonzero(test)[0]:
            chemistry, family = rows.kind[i].split(" ")
            corrected[i] = calibration.leak(rows.cycles[i], chemistry, family, str(rows.protocol[i]))
        r2[str(number)] = {name: _r2(rows, train, name) for name in sorted(set(rows.kind.tolist()))}
        console.print(f"fold {number}: {len(fold.train)} protocols fitted, {len(fold.test)} judged")
    own = less_own(corrected, rows.cell.tolist(), rows.protocol.tolist(), rows.healthy.tolist())
    everything = calibrate(**rows.calibrated_on(np.ones(len(raw), bool)))
    config.calibration.write_text(json.dumps(everything.to_dict(), indent=1) + "\n", encoding="utf-8")
    console.print(f"calibration -> {config.calibration}")
    readings = {"raw": raw, "corrected": corrected, "less_own": own}
    return {
        "config": config.model_dump(mode="json", exclude={"calibration"}),
        "auroc": {name: _figures(rows, leak, config.draws) for name, leak in readings.items()},
        "leak_a": {name: _typical(rows, leak) for name, leak in readings.items()},
        "r2_of_left_out_protocols": r2,
        "corrected": sorted(name for name, fits in everything.fits.items() if fits.everything is not None),
        "open": {str(u): c.open for u, c in zip(rows.unit, rows.cycles, strict=True) if c.open},
        "expected_open": OPEN_CYCLE,
    }


def read(path: Path) -> Rows:
    """All cycles of the families cccv and dst."""
    halves: dict[str, Run] = {}
    runs, cycles = [], []
    for run in load(path):
        other = halves.pop(run.unit, None)
        if other is None:
            halves[run.unit] = run
            continue
        charge, discharge = sorted((other, run), key=lambda half: half.phase)
        runs.append(charge)
        cycles.append(read_cycle(_phase(charge), _phase(discharge)))
    return Rows(runs, cycles)


def _phase(run: Run) -> Phase:
    return Phase(run.time_s, run.channels["current"].astype(np.float64), run.channels["voltage"].astype(np.float64))


def _r2(rows: Rows, train: NDArray[np.bool_], name: str) -> float | None:
    keep = np.nonzero(train & rows.healthy & rows.closed & (rows.kind == name))[0]
    terms, ah = np.array([rows.cycles[i].terms for i in keep]), np.array([rows.cycles[i].ah for i in keep])
    r2 = fit_if_it_helps(terms, ah, rows.protocol[keep])[1]
    return round(r2, 3) if np.isfinite(r2) else None


def _figures(rows: Rows, leak: Floats, draws: int) -> dict[str, Any]:
    every = np.ones(len(leak), bool)
    scored = rows.scored(leak, every)
    found: dict[str, Any] = {
        "all": contrasts(scored),
        "ci95": intervals(scored, draws),
        "n": counts(scored),
        "without_807": contrasts(rows.scored(leak, rows.unit != NOT_CONNECTED)),
    }
    for family in sorted(set(rows.family.tolist())):
        found[family] = contrasts(rows.scored(leak, rows.family == family))
    return found


def _typical(rows: Rows, leak: Floats) -> dict[str, Any]:
    """Medians by resistor [A], and what healthy cycles scatter by (MAD as a standard deviation)."""
    faulty = rows.closed & (rows.cell == FAULTY_CELL)
    medians = {
        f"{ohm:g}": round(float(np.median(leak[faulty & (rows.ohm == ohm)])), 4) for ohm in np.unique(rows.ohm[faulty])
    }
    spread = {}
    for name in sorted(set(rows.kind.tolist())):
        for cell in sorted(set(rows.cell.tolist())):
            some = leak[rows.closed & rows.healthy & (rows.kind == name) & (rows.cell == cell)]
            if len(some):
                middle = float(np.median(some))
                mad = 1.4826 * float(np.median(np.abs(some - middle)))
                spread[f"{name} {cell}"] = {"median": round(middle, 4), "mad": round(mad, 4), "n": len(some)}
    return {"median_by_ohm": medians, "healthy": spread}
