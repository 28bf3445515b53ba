"""False alarms on healthy data, by rule "k of n windows": raises a vehicle-day, and the upper end of what they allow.

The real data are days, not years: nothing better than some tenths a day can be shown with them. The simulated fleet has
more days, of simulated vehicles.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from services.bus.settings import ROOT
from services.inference.bundle import Bundle, load_bundle
from services.inference.phase import Cell
from training.data import dmegc_18650, ev_fault, nasa_pcoe
from training.data.cell_steps import Cut, windows_of
from training.data.cut import cut
from training.data.runs import FAULTY, Run
from training.data.simulated import run_of
from training.data.windows import Windows, join
from training.evaluation.ev_fault import covered_days, rule_of, shape_of
from training.evaluation.rule import Rule, raised, upper_bound
from training.evaluation.scores import Scores, scores
from training.models.cell import CHEMISTRIES
from training.packs import spans
from training.simulation.fleet import Fleet
from training.simulation.sessions import record

RULES: Final = ((1, 1, 0), (2, 3, 0), (3, 5, 1), (4, 5, 1), (5, 8, 1), (8, 10, 2), (9, 10, 2), (10, 12, 2))
CELL_BUNDLE: Final = ROOT / "bundles" / "cell-int8"
AMBIENT: Final = 24.0  # degC, at which the cell detector's cells were cycled
Rows = dict[str, Any]


class Config(BaseModel):
    """What configs/studies/healthy.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path = Field(ROOT / "bundles" / "dyad-int8", description="A pack bundle.")
    fleet: Fleet = Field(Fleet(seed=202, healthy=60, faulty=0, sessions=20, late=0), description="Healthy vehicles.")


def study(config: Config, data: Path, console: Console) -> Rows:
    bundle, cell = load_bundle(config.bundle), load_bundle(CELL_BUNDLE)
    shipped = rule_of(bundle.manifest.name)
    real: list[tuple[str, str, Windows, Scores]] = []
    for run in ev_fault.load(data / "ev-fault"):
        for name, part in spans(run):
            windows = cut(part, bundle.manifest.channels, shape_of(bundle))
            real.append((run.unit, "faulty" if run.label == FAULTY else name, windows, scores(bundle.run, windows)[0]))
        console.print(f"{run.unit} judged")
    simulated = [(w, scores(bundle.run, w)[0]) for w in sessions(bundle, config.fleet)]
    return {
        "bundle": bundle.manifest.id,
        "threshold": bundle.manifest.score.threshold,
        "rule": {"k": shipped.k, "n": shipped.n, "clear_k": shipped.clear_k},
        "ev-fault": {
            "healthy": [by_rule(bundle, rule, [(w, s) for _, name, w, s in real if name in ALL]) for rule in RULES],
            "unlearnt": [by_rule(bundle, rule, [(w, s) for _, name, w, s in real if name == "test"]) for rule in RULES],
            "found": [found(bundle, rule, [(w, s) for _, name, w, s in real if name == "faulty"]) for rule in RULES],
        },
        "simulated": [by_rule(bundle, rule, simulated) for rule in RULES],
        "cells": {
            "nasa_pcoe": judged_cells(cell, at_room(nasa_pcoe.load(data / "nasa_pcoe")), 2.0, 18.0),
            "dmegc_18650": judged_cells(cell, dmegc_18650.load(data / "dmegc_18650"), 2.6, 10.0),
        },
    }


def at_room(runs: Iterable[Run]) -> Iterator[Run]:
    return (run for run in runs if run.facts["ambient_degc"] == AMBIENT)


ALL: Final = ("train", "threshold", "test")


def sessions(bundle: Bundle, fleet: Fleet) -> Iterator[Windows]:
    """Windows of each simulated vehicle in order of time, cut session by session as the service does."""
    made: dict[str, list[Windows]] = {}
    for recording in record(fleet, fleet.vehicles()):
        run = run_of(recording)
        made.setdefault(run.unit, []).append(cut(run, bundle.manifest.channels, shape_of(bundle)))
    for parts in made.values():
        windows = join(parts)
        yield windows.select(np.argsort(windows.start_s, kind="stable"))


def by_rule(bundle: Bundle, rule: tuple[int, int, int], parts: list[tuple[Windows, Scores]]) -> Rows:
    """Raises and days; the state of the rule begins anew with each part."""
    length, threshold = bundle.manifest.window * bundle.manifest.step_s, bundle.manifest.score.threshold
    events = sum(len(raised(made > threshold, Rule(*rule))) for _, made in parts)
    days = sum(covered_days(windows, length) for windows, _ in parts)
    beyond = [made > threshold for _, made in parts if len(made)]
    return {
        "k": rule[0],
        "n": rule[1],
        "raised": events,
        "days": round(days, 2),
        "a_day": round(events / days, 4) if days else None,
        "a_day_below": round(upper_bound(events) / days, 4) if days else None,
        "beyond": round(float(np.concatenate(beyond).mean()), 4) if beyond else None,
    }


def found(bundle: Bundle, rule: tuple[int, int, int], parts: list[tuple[Windows, Scores]]) -> Rows:
    """When the drifting cell is found: days after the first window that is called faulty."""
    threshold = bundle.manifest.score.threshold
    length = bundle.manifest.window * bundle.manifest.step_s
    after = [
        (float(windows.start_s[at[0]]) + length - float(windows.start_s[0])) / 86_400
        for windows, made in parts
        if len(made) and (at := raised(made > threshold, Rule(*rule)))
    ]
    return {"k": rule[0], "n": rule[1], "after_days": round(min(after), 2) if after else None}


def judged_cells(bundle: Bundle, runs: Iterable[Run], capacity_ah: float, period_s: float) -> Rows:
    """What the cell detector raises on healthy cells of makes that it does not know, told each of its chemistries."""
    manifest, made = bundle.manifest, {}
    cut = Cut(manifest.step_s, manifest.window, manifest.stride, manifest.hole_max, manifest.holes_max)
    rule, whole = rule_of(manifest.name), list(runs)
    for chemistry in CHEMISTRIES:
        cell, events, passed_over, count, beyond = Cell(capacity_ah=capacity_ah, chemistry=chemistry), 0, 0, 0, 0
        for run in whole:
            found = list(windows_of(run, manifest.channels, cut, cell, manifest.domain, period_s=period_s))
            over = np.array([bundle.judge(w).score > manifest.score.threshold for w in found if w is not None], bool)
            events, passed_over = events + len(raised(over, rule)), passed_over + found.count(None)
            count, beyond = count + len(over), beyond + int(over.sum())
        made[chemistry] = {"windows": count, "passed_over": passed_over, "beyond": beyond, "raised": events}
    days = sum(float(run.time_s[-1] - run.time_s[0]) for run in whole) / 86_400
    return {"cells": len({run.unit for run in whole}), "days": round(days, 1), "by_chemistry": made}
