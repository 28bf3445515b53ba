"""Five folds over vehicles: h from the other vehicles, each vehicle judged once. NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.data.runs import FAULTY
from training.data.splits import Fold, folds, inner
from training.data.windows import Windows
from training.evaluation.auroc import auroc, curve
from training.evaluation.vehicles import Scores, by_vehicle, choose_h, separation

FOLDS: Final = 5
SEED: Final = 1
RATES: Final = np.linspace(0, 1, 41)  # false positive rates at which the ROC's band is given
DRAWS: Final = 500


@dataclass(frozen=True, slots=True)
class Vehicles:
    """What is known of each vehicle, names sorted; a vehicle is faulty when one of its windows is."""

    names: list[str]
    faulty: NDArray[np.bool_]
    fault: list[str]
    size: Scores  # the largest that occurs; of a short (ohm) the smallest


def vehicles_of(windows: Windows) -> Vehicles:
    names = sorted(set(windows.group.tolist()))
    faulty, fault, size = [], [], []
    for name in names:
        broken = (windows.group == name) & (windows.label == FAULTY)
        faulty.append(bool(broken.any()))
        fault.append(str(windows.fault[broken][0]) if broken.any() else "")
        sizes = np.abs(windows.size[broken].astype(np.float64))
        extreme = np.nanmin if fault[-1] == "internal_short" else np.nanmax
        size.append(float(extreme(sizes)) if broken.any() and np.isfinite(sizes).any() else float("nan"))
    return Vehicles(names, np.array(faulty), fault, np.array(size))


def over_vehicles(known: Vehicles) -> list[Fold]:
    """The folds of all studies and evaluations: each fault spread evenly over them, seeded."""
    return folds(known.names, FOLDS, SEED, dict(zip(known.names, known.fault, strict=True)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Each vehicle's score, of the fold in which it was tested."""

    vehicles: Vehicles
    score: Scores
    fold: NDArray[np.intp]
    h: list[int]

    @property
    def of_folds(self) -> list[float]:
        count = len(self.h)
        parts = [(self.fold == i, f"vehicles of fold {i + 1} of {count}") for i in range(count)]
        return [separation(self.score[part], self.vehicles.faulty[part], where) for part, where in parts]

    def of_those(self, chosen: NDArray[np.bool_]) -> float:
        """AUROC of these faulty vehicles, mean over the folds that have one."""
        asked = chosen | ~self.vehicles.faulty
        parts = [asked & (self.fold == i) for i in range(len(self.h)) if (chosen & (self.fold == i)).any()]
        return float(np.mean([separation(self.score[part], chosen[part]) for part in parts]))

    def interval(self) -> tuple[float, float]:
        """95 % of the mean over the folds, by bootstrap over the vehicles of each fold (one scale a fold)."""
        draw, drawn = np.random.default_rng(0), []
        sides = [
            tuple(np.nonzero((self.fold == i) & (self.vehicles.faulty == side))[0] for side in (True, False))
            for i in range(len(self.h))
        ]
        for _ in range(DRAWS):
            taken = [[self.score[draw.choice(side, len(side))] for side in both] for both in sides]
            drawn.append(np.mean([auroc(faulty, healthy) or 0.0 for faulty, healthy in taken]))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any]:
        """AUROC: mean and spread over the folds, as DyAD reports it, with the mean's interval; of all together."""
        faulty = self.vehicles.faulty
        return {
            "auroc": round(float(np.mean(self.of_folds)), 4),
            "spread": round(float(np.std(self.of_folds)), 4),
            "folds": [round(found, 4) for found in self.of_folds],
            "together": round(separation(self.score, faulty), 4),
            "ci95": [round(end, 4) for end in self.interval()],
            "h": self.h,
            "roc": roc(self.score, faulty),
        }


def judged(windows: Windows, found: Scores) -> Outcome:
    """Scores of one detector's windows: of each fold h is chosen on the four others."""
    known = vehicles_of(windows)
    parts = over_vehicles(known)
    return outcome(known, parts, [(windows, found)] * len(parts))


def outcome(known: Vehicles, parts: Sequence[Fold], scored: Sequence[tuple[Windows, Scores]]) -> Outcome:
    """As `judged`, with the windows and scores of each fold's own detector.

    `scored` of a fold holds all windows of its test vehicles, and of those training vehicles on which h may be chosen.
    """
    score = np.full(len(known.names), np.nan)
    fold = np.full(len(known.names), -1, dtype=np.intp)  # a study may leave folds out
    strata = dict(zip(known.names, known.fault, strict=True))
    hs: list[int] = []
    for i, (part, (windows, found)) in enumerate(zip(parts, scored, strict=True)):
        chosen = np.isin(windows.group, list(part.train))
        present = set(windows.group[chosen].tolist())
        sides = [[name for name in inside.test if name in present] for inside in inner(part, FOLDS, SEED, strata)]
        hs.append(choose_h(found[chosen], windows.group[chosen], windows.label[chosen], sides))
        tested = np.isin(windows.group, list(part.test))
        names, tops = by_vehicle(found[tested], windows.group[tested], hs[-1])
        places = [known.names.index(name) for name in names]
        score[places], fold[places] = tops, i
    return Outcome(known, score, fold, hs)


def roc(score: Scores, faulty: NDArray[np.bool_]) -> dict[str, list[float]]:
    """True positive rate at RATES, and its 95 % band by bootstrap over vehicles."""

    def at(chosen: NDArray[np.intp]) -> Scores:
        false, true = curve(score[chosen][faulty[chosen]], score[chosen][~faulty[chosen]])
        return np.interp(RATES, false, true)

    draw = np.random.default_rng(0)
    sides = np.nonzero(faulty)[0], np.nonzero(~faulty)[0]
    drawn = [at(np.concatenate([draw.choice(side, len(side)) for side in sides])) for _ in range(DRAWS)]
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    lines = {"false": RATES, "true": at(np.arange(len(score))), "low": low, "high": high}
    return {name: [round(float(x), 4) for x in line] for name, line in lines.items()}
