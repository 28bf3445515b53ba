"""The cell detector's figures: nested folds over protocols, each row judged once on the outer ones.

Of each outer fold's training protocols inner folds are made. What they leave out gives the head its healthy windows and
the choices their AUROC (labels of training protocols only); the outer fold is then scored by a net of all its training
protocols. Nothing of the outer protocols is fitted, chosen or calibrated.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console

from services.inference.bundle import open_session
from training.compress.bundle import operators
from training.data.splits import folds, inner
from training.evaluation.isc_ncm import SMALL, Scored, contrasts, summary
from training.models.cell import VOLTAGE
from training.models.cell_folds import Part, Work, concatenate, graph_scores
from training.models.leak import BINS, SQUARE, Head, features, logistic
from training.trainers.cell import Config as Trainer

TOP: Final = BINS + 1  # the feature
Scores = NDArray[np.float64]
Judges = dict[str, Scores]
RULES: Final[dict[str, Callable[[Scores], float]]] = {
    "mean": lambda s: float(s.mean()),
    "upper half": lambda s: float(np.sort(s)[-max(1, len(s) // 2) :].mean()),
    "sum / sqrt(n)": lambda s: float(s.sum() / np.sqrt(len(s))),
}
RUNS: Final = 400  # of each graph, for its latency


class Config(Trainer):
    """What configs/studies/cell.yaml may say. `work`: nets of `train` with the same folder are not trained again."""

    inner: int = Field(3, ge=2, description="Inner folds.")


def study(config: Config, data: Path, console: Console) -> dict[str, Any]:
    """All rows; `data` holds the folder isc_ncm."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = config.work or Path(temporary)
        work = Work(data / "isc_ncm", folder, config.work is not None, console)
        return judge(work, config)


def judge(work: Work, config: Config) -> dict[str, Any]:
    recipe, found = config.recipe(), []
    for k, fold in enumerate(folds(work.protocols, config.folds, config.fold_seed, work.strata)):
        strata = {name: work.strata[name] for name in fold.train}
        within = inner(fold, config.inner, k, strata)
        inside = [work.part(part, recipe, f"fold{k}-{j}") for j, part in enumerate(within)]
        found.append(Outer(work, work.part(fold, recipe, f"fold{k}"), inside, config))
    rows = {name: concatenate([outer.rows[name] for outer in found]) for name in found[0].rows}
    runs = {name: aggregate(scored, "mean") for name, scored in rows.items()}
    chosen = concatenate([outer.chosen for outer in found])
    chosen_runs = concatenate([outer.chosen_runs for outer in found])
    return {
        "protocols": len(work.protocols),
        "folds": [list(outer.part.fold.test) for outer in found],
        "rows": {name: {"window": contrasts(rows[name]), "run": contrasts(runs[name])} for name in rows},
        "chosen": summary({"window": chosen, "run": chosen_runs})
        | {"choices": [outer.choice for outer in found], "rules": [outer.rule for outer in found]},
        "by_fold": [contrasts(outer.chosen)["le100"] for outer in found],
        "rules": {rule: contrasts(aggregate(chosen, rule)) for rule in RULES},
        "by_place": by_place(chosen),
        "latency": latency(found[0]),
    }


class Outer:
    """One outer fold: scores of its windows by each row, and what the inner folds chose.

    rows: name -> scores; chosen: those of the row with the best inner AUROC.
    """

    def __init__(self, work: Work, part: Part, inside: list[Part], config: Config) -> None:
        self.work, self.part = work, part
        self.head = work.head(inside, config.seed)
        self.graphs = work.graphs(part.model, self.head, part.fold.train, config.window)
        within = []
        for other in inside:  # judged by what was learned on the other inner folds
            head = work.head([part for part in inside if part is not other], config.seed)
            within.append(scores_of(work, other, inside, head))
        outside = scores_of(work, part, inside, self.head)
        # normalised by inner healthy windows, so that scores of several outer folds have one scale
        joined = {name: np.concatenate([judges[name] for judges in within]) for name in outside}
        healthy = np.concatenate([work.healthy()[other.windows.of] for other in inside])
        scale = {name: middle(joined[name][healthy]) for name in outside}
        outside = {name: (score - scale[name][0]) / scale[name][1] for name, score in outside.items()}
        joined = {name: (score - scale[name][0]) / scale[name][1] for name, score in joined.items()}
        for judges in (outside, joined):
            judges["squared + top quarter"] = judges["squared"] + judges["top quarter"]
        seen = concatenate([work.scored(other, np.zeros(len(other.windows))) for other in inside])
        within_scored = {name: with_scores(seen, score) for name, score in joined.items() if name != "labels"}
        self.choice = max(within_scored, key=lambda name: value(within_scored[name]))
        outside["chosen"] = outside[self.choice]
        outside["leak head, INT8"] = (graph_scores(self.graphs[1], part.windows) - scale["leak head"][0]) / scale[
            "leak head"
        ][1]
        self.rows = {name: work.scored(part, score) for name, score in outside.items()}
        self.chosen = self.rows["chosen"]
        best = within_scored[self.choice]
        self.rule = max(RULES, key=lambda rule: value(aggregate(best, rule)))
        place, spread = middle(aggregate(best, self.rule).score)
        chosen_runs = aggregate(self.chosen, self.rule)
        self.chosen_runs = with_scores(chosen_runs, (chosen_runs.score - place) / spread)


def scores_of(work: Work, part: Part, inside: list[Part], head: Head) -> Judges:
    """Scores of a part's windows; `inside` are the parts whose labels may be used, other than itself."""
    table = features(part.deviations)
    base = base_alone(part)
    odds = head.odds(table)
    return {
        "base alone, squared": np.log((base**2).mean(1) + 1e-6),
        "squared": table[:, SQUARE],
        "top quarter": table[:, TOP],
        "leak odds": odds,
        "leak head": head.score(part.deviations),
        "labels": with_labels(work, [other for other in inside if other is not part])(table),
    }


def base_alone(part: Part) -> Scores:
    """Deviations of the float base without the net."""
    scaled = part.windows.scaled
    return part.model.base.predict(scaled) - scaled[..., VOLTAGE]


def with_labels(work: Work, parts: list[Part]) -> Callable[[Scores], Scores]:
    """The same features, learned with fault labels (up to 100 ohm): what labels would add."""
    tables, labels = [], []
    for part in parts:
        ohm = work.phases.ohm[part.windows.of]
        keep = work.healthy()[part.windows.of] | (ohm <= SMALL)
        tables.append(features(part.deviations)[keep])
        labels.append((ohm[keep] <= SMALL).astype(np.float64))
    table, label = np.concatenate(tables), np.concatenate(labels)
    weight, bias = logistic(table, label, np.ones(len(label)), 10.0)
    return lambda other: np.asarray(other @ weight + bias)


def middle(scores: Scores) -> tuple[float, float]:
    """Median, and median absolute deviation from it."""
    place = float(np.median(scores))
    return place, max(1e-9, float(np.median(np.abs(scores - place))))


def aggregate(windows: Scored, rule: str) -> Scored:
    """A score a run."""
    names, first, of = np.unique(windows.unit, return_index=True, return_inverse=True)
    score = np.array([RULES[rule](windows.score[of == i]) for i in range(len(names))])
    return Scored(score, names, windows.protocol[first], windows.cell[first], windows.ohm[first])


def with_scores(scored: Scored, score: Scores) -> Scored:
    return Scored(score, scored.unit, scored.protocol, scored.cell, scored.ohm)


def value(scored: Scored) -> float:
    """What is chosen by: all up to 100 ohm, mean of both contrasts."""
    both = contrasts(scored)["le100"].values()
    return float(np.mean([v for v in both if v is not None]))


def by_place(windows: Scored) -> dict[str, Any]:
    """AUROC after the first 1, 2, 4, .. windows of a run."""
    _, of = np.unique(windows.unit, return_inverse=True)
    place = np.zeros(len(of), dtype=int)
    seen: dict[int, int] = {}
    for i, unit in enumerate(of.tolist()):
        place[i] = seen.get(unit, 0)
        seen[unit] = place[i] + 1
    return {str(count): contrasts(aggregate(windows.select(place < count), "mean"))["le100"] for count in (1, 2, 4, 6)}


def latency(outer: Outer) -> dict[str, Any]:
    """Size, operators and time of one window, batch 1, one thread; graphs and torch in turn, in one run [ms]."""
    window = outer.part.windows.scaled[:1]
    feeds = {"window": window, "mask": np.ones_like(window)}
    sessions = {name: open_session(g, Path(name)) for name, g in zip(("float", "int8"), outer.graphs, strict=True)}
    taken: dict[str, list[float]] = {"float": [], "int8": [], "torch": []}
    tensor = torch.from_numpy(np.ascontiguousarray(window.transpose(0, 2, 1)))
    with torch.no_grad():
        for _ in range(RUNS):
            for name, session in sessions.items():
                began = time.perf_counter()
                session.run(["score", "contributions"], feeds)
                taken[name].append(time.perf_counter() - began)
            began = time.perf_counter()
            outer.part.model.net(tensor)  # the net alone
            taken["torch"].append(time.perf_counter() - began)
    ms = {name: {"min": 1e3 * min(t), "median": 1e3 * float(np.median(t))} for name, t in taken.items()}
    return {
        name: {"min_ms": round(t["min"], 4), "median_ms": round(t["median"], 4)}
        | ({"bytes": len(graph), "operators": operators(graph)} if graph else {})
        for (name, t), graph in zip(ms.items(), (*outer.graphs, None), strict=True)
    }
