"""Detectors of the simulated fleet, fold by fold: learnt from healthy vehicles of four folds, judged on the fifth.

Of a fold's healthy training vehicles one in five is not learnt from: there training stops early, errors get their
units, and (with the faulty training vehicles) h is chosen. A fold that is done is kept in a file: a study that was
killed goes on with the next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from rich.progress import Progress

from training.compress.integer import integer_form
from training.data.splits import Fold, folds
from training.data.windows import Windows
from training.evaluation.folds import Outcome, Vehicles, outcome, over_vehicles, vehicles_of
from training.evaluation.scores import Scores, graph_run, scores
from training.models.conv import ConvDyad, Size
from training.models.dyad import Dyad, Loss, Shape
from training.models.fit import Recipe, Saves, fit, judge
from training.models.gru import GruDyad, GruSize
from training.models.pack import CHANNELS, PackDyad
from training.models.snippets import Snippets, scaled
from training.models.variants import variants
from training.packs import snippets

Scored = dict[str, Scores]
"""Name of a score -> scores of the fold's judged windows."""
RANGE_SHARE: Final = 0.98  # of calibration windows, whose extremes an INT8 range holds


@dataclass(frozen=True, slots=True)
class Part:
    """One fold's windows."""

    number: int
    fold: Fold
    learnt: Windows  # healthy vehicles
    held: Windows  # other healthy vehicles
    judged: Windows  # held, the faulty training vehicles, and the test vehicles


@dataclass(frozen=True, slots=True)
class Work:
    """The fleet in folds, and where finished ones are kept."""

    windows: Windows
    known: Vehicles
    parts: list[Part]
    folder: Path
    progress: Progress

    @classmethod
    def of(cls, windows: Windows, folder: Path, progress: Progress) -> "Work":
        known = vehicles_of(windows)
        healthy = {name for name, faulty in zip(known.names, known.faulty, strict=True) if not faulty}
        made = []
        for number, fold in enumerate(over_vehicles(known)):
            mine = folds([name for name in fold.train if name in healthy], 5, number)[0]
            unlearnt = sorted({*mine.test, *fold.test, *(name for name in fold.train if name not in healthy)})
            made.append(Part(number, fold, *(windows.of_groups(names) for names in (mine.train, mine.test, unlearnt))))
        return cls(windows, known, made, folder, progress)

    def scored(self, name: str, part: Part, learn: Callable[[Part], Scored]) -> Scored:
        """What `learn` gives for this part, from the file if it is done."""
        path = self.folder / f"{name}-{part.number}.npz"
        if path.exists():
            with np.load(path) as content:
                return {key: content[key] for key in content.files}
        made = learn(part)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **made)  # type: ignore[arg-type]  # its stub takes the names for options
        unfinished.replace(path)
        return made

    def outcomes(
        self, name: str, learn: Callable[[Part], Scored], parts: list[Part] | None = None
    ) -> dict[str, Outcome]:
        """Score -> outcome over these folds (default: all)."""
        chosen = self.parts if parts is None else parts
        found = [self.scored(name, part, learn) for part in chosen]
        pairs = [part.judged for part in chosen]
        return {
            key: outcome(
                self.known, [part.fold for part in chosen], list(zip(pairs, [f[key] for f in found], strict=True))
            )
            for key in found[0]
        }

    def saves(self, name: str, part: Part, recipe: Recipe) -> Saves:
        about = {"part": part.number, "windows": len(self.windows), "recipe": recipe.model_dump()}
        return Saves(self.folder / f"{name}-{part.number}.pt", about, resume=True)


def learn_net(work: Work, name: str, net: PackDyad, part: Part, recipe: Recipe) -> PackDyad:
    """Train a pack net on a fold, early stopping where the recipe says so."""
    held = snippets(part.held, CHANNELS)
    title = f"{name}, fold {part.number + 1}"
    fit(net, snippets(part.learnt, CHANNELS), recipe, work.progress, title, held, work.saves(name, part, recipe))
    net.fit_units(held, CHANNELS)
    return net


def teacher(work: Work, size: GruSize, recipe: Recipe) -> Callable[[Part], Scored]:
    def learn(part: Part) -> Scored:
        torch.manual_seed(recipe.seed)
        net = learn_net(work, "teacher", GruDyad(size, kl_steps=max(1, recipe.steps // 3)), part, recipe)
        torch.save(net.state_dict(), work.folder / f"teacher-net-{part.number}.pt")
        return shown(net, part)

    return learn


def student(work: Work, size: Size, recipe: Recipe, aware: Recipe, calibration: int = 400) -> Callable[[Part], Scored]:
    """Float, with all variants of its score, and INT8, for which it is trained on by the recipe `aware`."""

    def learn(part: Part) -> Scored:
        torch.manual_seed(recipe.seed)
        net = ConvDyad(size, kl_steps=max(1, recipe.steps // 3))
        learn_net(work, "student", net, part, recipe)
        torch.save(net.state_dict(), work.folder / f"student-net-{part.number}.pt")
        plain = shown(net, part)
        title, held = f"student, INT8, fold {part.number + 1}", snippets(part.held, CHANNELS)
        saves = work.saves("aware", part, aware)
        learnt, calibrated = snippets(part.learnt, CHANNELS), drawn(part, calibration)
        model = integer_form(net, aware, learnt, held, calibrated, RANGE_SHARE, work.progress, title, saves)
        torch.save(net.state_dict(), work.folder / f"aware-net-{part.number}.pt")
        return plain | {"int8": graph_scores(model, part)}

    return learn


def shown(net: PackDyad, part: Part) -> Scored:
    made = variants(net, snippets(part.judged, CHANNELS), snippets(part.held, CHANNELS))
    return {name: found.numpy().astype(np.float64) for name, found in made.items()}


def graph_scores(model: onnx.ModelProto, part: Part) -> Scores:
    """Through ONNX Runtime, as on the edge."""
    return scores(graph_run(model.SerializeToString(), CHANNELS), part.judged)[0]


def drawn(part: Part, count: int) -> Snippets:
    """Calibration windows: of what was learnt."""
    data = snippets(part.learnt, CHANNELS)
    generator = torch.Generator().manual_seed(part.number)
    return data.at(torch.multinomial(data.weight, min(count, len(data)), generator=generator))


def published(work: Work, shape: Shape, loss: Loss, recipe: Recipe) -> Callable[[Part], Scored]:
    """DyAD on the columns themselves, scaled as published."""

    def learn(part: Part) -> Scored:
        from training.trainers.dyad import scaler

        specs = scaler(part.learnt, shape)
        torch.manual_seed(recipe.seed)
        net = Dyad(shape, loss)

        def tensors(windows: Windows) -> Snippets:
            order = [windows.columns.index(name) for name in shape.columns]
            values, mask = windows.filled()[..., order], windows.mask[..., order]
            window, known = scaled(values, mask, [s.offset for s in specs], [s.scale for s in specs])
            return Snippets(window, known, torch.ones(len(window)), torch.full((len(window),), float("nan")))

        title = f"published, fold {part.number + 1}"
        saves = work.saves("published", part, recipe)
        fit(net, tensors(part.learnt), recipe, work.progress, title, tensors(part.held), saves)
        judged = tensors(part.judged)
        found = {"huber": judge(net, judged)[0]}
        net.huber = False
        found["squared"] = judge(net, judged)[0]
        return {name: made.numpy().astype(np.float64) for name, made in found.items()}

    return learn
