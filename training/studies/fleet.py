"""Detectors on the simulated fleet: AUROC over vehicles in five folds, by fault and size; pictures' data.

Each row is learnt from healthy vehicles alone, and judged on vehicles that it has not seen. What was tried and did not
help is a row, too. `shipped` is bundles/dyad-int8 as it is, learnt from other simulated vehicles and from real ones.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from services.bus.settings import ROOT
from services.inference.bundle import load_bundle
from training.data.runs import FAULTY, HEALTHY
from training.data.windows import Windows, read
from training.evaluation.folds import Outcome
from training.evaluation.scores import scores
from training.evaluation.simulated import by_fault, figures
from training.evaluation.vehicles import separation
from training.fleet_folds import Part, Work, published, student, teacher
from training.models.conv import ConvDyad, Size
from training.models.dyad import Loss, Shape
from training.models.fit import Recipe
from training.models.gru import GruSize
from training.models.pack import CHANNELS, INPUTS, LOWEST
from training.models.snippets import Snippets
from training.models.variants import SHIPPED, latent, variants
from training.packs import simulated, snippets
from training.simulation.fleet import Fleet

BUNDLE: Final = ROOT / "bundles" / "dyad-int8"
COLUMNS: Final = tuple(spec.name for spec in CHANNELS)
SHOWN: Final = 600  # windows in the latent map
Rows = dict[str, Any]


class Config(BaseModel):
    """What configs/studies/fleet.yaml may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fleet: Fleet = Fleet()
    size: Size = Size()
    student: Recipe = Recipe(steps=1500, patience=0)
    aware: Recipe = Recipe(steps=1000, learning_rate=1e-3)
    teacher_size: GruSize = GruSize(hidden=48)
    teacher: Recipe = Recipe(steps=400, batch=64, check_every=50, patience=4)
    published: Recipe = Recipe(
        steps=300, batch=64, learning_rate=5e-3, schedule="cosine", weight_decay=1e-6, check_every=50, patience=4
    )
    published_shape: Shape = Shape(inputs=COLUMNS[:INPUTS], responses=COLUMNS[INPUTS:], hidden=64, latent=32)
    rows: tuple[str, ...] = Field(("student", "teacher", "published"), description="Which are learnt.")
    work: Path = Field(ROOT / "data" / "studies" / "fleet", description="Finished folds are kept here.")


def study(config: Config, data: Path, console: Console) -> Rows:
    """All rows."""
    torch.set_num_threads(1)
    with Progress(console=console) as progress:
        work = Work.of(fleet_windows(config), config.work, progress)
        made: Rows = {
            "fleet": config.fleet.model_dump(),
            "n": {
                "vehicles": len(work.known.names),
                "faulty": int(work.known.faulty.sum()),
                "windows": len(work.windows),
            },
            "rows": {},
        }
        if "student" in config.rows:
            learn = student(work, config.size, config.student, config.aware)
            outcomes = work.outcomes("student", learn)
            for score, found in outcomes.items():
                made["rows"]["student, INT8" if score == "int8" else f"student, {score}"] = row(work, found)
            made["parity"] = parity(outcomes[SHIPPED], outcomes["int8"])
            made["windows"] = {score: window_auroc(work, score, learn) for score in (SHIPPED, "int8")}
            made["examples"] = examples(work, config)
        if "teacher" in config.rows:
            for score, found in work.outcomes("teacher", teacher(work, config.teacher_size, config.teacher)).items():
                made["rows"][f"teacher, {score}"] = row(work, found)
        if "published" in config.rows:
            learn = published(work, config.published_shape, Loss(), config.published)
            for score, found in work.outcomes("published", learn).items():
                made["rows"][f"published, {score}"] = row(work, found)
        if (BUNDLE / "manifest.json").exists():
            bundle = load_bundle(BUNDLE)
            made["shipped"] = {
                "bundle": bundle.manifest.id,
                **figures(work.windows, scores(bundle.run, work.windows)[0]),
            }
    return made


def fleet_windows(config: Config) -> Windows:
    """The fleet's windows; made once and kept."""
    path = config.work / "windows.parquet"
    if not path.exists():
        simulated(config.fleet).write(path)
    return read(path)


def row(work: Work, found: Outcome) -> Rows:
    return {"vehicle": found.as_dict(), "fault": by_fault(found)}


def parity(plain: Outcome, integer: Outcome) -> Rows:
    """INT8 against float: AUROC, each fold's, and of all vehicles together."""
    differences = [b - a for a, b in zip(plain.of_folds, integer.of_folds, strict=True)]
    together = [separation(o.score, o.vehicles.faulty) for o in (plain, integer)]
    return {
        "folds": [round(d, 4) for d in differences],
        "mean": round(float(np.mean(differences)), 4),
        "together": round(together[1] - together[0], 4),
    }


def window_auroc(work: Work, score: str, learn: Any) -> float:
    """Mean over the folds of the AUROC over the test vehicles' windows."""
    found = []
    for part in work.parts:
        tested = np.isin(part.judged.group, list(part.fold.test)) & np.isin(part.judged.label, (HEALTHY, FAULTY))
        scored = work.scored("student", part, learn)[score]
        found.append(separation(scored[tested], part.judged.label[tested] == FAULTY))
    return round(float(np.mean(found)), 4)


def examples(work: Work, config: Config) -> Rows:
    """For pictures: two windows and their reconstruction, the latents, the life of vehicles; of the first fold."""
    part = work.parts[0]
    net = ConvDyad(config.size)
    net.load_state_dict(torch.load(config.work / "student-net-0.pt", weights_only=True))
    net.eval()
    tested = part.judged.of_groups(part.fold.test)
    data = snippets(tested, CHANNELS)
    found = variants(net, data, snippets(part.held, CHANNELS))[SHIPPED].numpy()
    return {
        "reconstruction": reconstruction(net, tested, data, found),
        "latent": latent_map(net, tested, data),
        "life": lives(part, tested, found),
    }


def reconstruction(net: ConvDyad, windows: Windows, data: Snippets, found: np.ndarray[Any, Any]) -> Rows:
    """The middle healthy window, and a faulty one of the highest tenth by score: its lowest cell [mV]."""
    made: Rows = {}
    for label, name, quantile in ((HEALTHY, "healthy", 0.5), (FAULTY, "faulty", 0.95)):
        of = np.nonzero(windows.label == label)[0]
        chosen = of[np.argsort(found[of])[int(quantile * (len(of) - 1))]]
        one = data.at(torch.tensor([int(chosen)]))
        with torch.no_grad():
            rest, answer, _, _ = net.reconstruct(one.window)
        unit = 1e3 * CHANNELS[LOWEST].scale
        made[name] = {
            "fault": str(windows.fault[chosen]),
            "size": None if np.isnan(windows.size[chosen]) else round(float(windows.size[chosen]), 4),
            "score": round(float(found[chosen]), 3),
            "current": [round(float(x), 2) for x in windows.values[chosen, :, 0]],
            "lowest_cell_mv": [round(unit * float(x), 3) for x in rest[0, :, LOWEST - INPUTS]],
            "reconstructed_mv": [round(unit * float(x), 3) for x in answer[0, :, LOWEST - INPUTS]],
        }
    return made


def latent_map(net: ConvDyad, windows: Windows, data: Snippets) -> Rows:
    """The latents' two main directions."""
    drawn = np.random.default_rng(0).permutation(len(windows))[:SHOWN]
    with torch.no_grad():
        points = latent(net, data.at(torch.from_numpy(drawn))).numpy().astype(np.float64)
    points -= points.mean(0)
    axes = np.linalg.svd(points, full_matrices=False)[2][:2]
    x, y = axes @ points.T
    return {
        "x": [round(float(v), 3) for v in x],
        "y": [round(float(v), 3) for v in y],
        "fault": windows.fault[drawn].tolist(),
    }


def lives(part: Part, windows: Windows, found: np.ndarray[Any, Any]) -> list[Rows]:
    """Score by day of a healthy vehicle and of one of each fault: of the fold's the middle one by its last score."""
    made = []
    for kind in ["", *sorted(set(windows.fault.tolist()) - {""})]:
        broken = set(windows.group[windows.fault != ""].tolist())
        names = sorted(set(windows.group[windows.fault == kind].tolist()) - (broken if not kind else set()))
        last = [
            float(found[windows.group == name][np.argmax(windows.start_s[windows.group == name])]) for name in names
        ]
        name = names[int(np.argsort(last)[len(last) // 2])]
        mine = windows.group == name
        order = np.argsort(windows.start_s[mine])
        days = (windows.start_s[mine] - windows.start_s[mine].min()) / 86_400
        made.append(
            {
                "vehicle": name,
                "fault": kind,
                "day": [round(float(d), 2) for d in days[order]],
                "score": [round(float(s), 3) for s in found[mine][order]],
                "faulty": [bool(label == FAULTY) for label in windows.label[mine][order]],
            }
        )
    return made
