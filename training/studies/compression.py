"""What makes the pack detector smaller or faster, and what it costs: each row measured on the fleet's folds.

Begins with the nets of `study fleet` (same `work` folder). AUROC is over the test vehicles of the folds; size and time
are of the first fold's graph. Times are of one run, all graphs in turn, one thread, batch 1.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import quantize_dynamic
from pydantic import Field
from rich.console import Console
from rich.progress import Progress

from services.inference.bundle import open_session
from training.compress.bundle import FLOAT_WORK, operators
from training.compress.calibrate import observe
from training.compress.cell_stream import beginning, streamed, windowed
from training.compress.dyad_graph import write as write_dyad
from training.compress.prune import prune
from training.compress.student_graph import WEIGHT_MAX, quantized, ranges_of, write
from training.evaluation.scores import graph_run, scores
from training.fleet_folds import RANGE_SHARE, Part, Scored, Work, drawn, student, teacher
from training.models.cell import COLUMNS, Net
from training.models.conv import ConvDyad, Size
from training.models.dyad import Dyad, Loss
from training.models.fit import Recipe, fit
from training.models.gru import GruDyad
from training.models.pack import CHANNELS
from training.models.pupil import Pupil
from training.packs import snippets
from training.studies.fleet import Config as FleetConfig
from training.studies.fleet import fleet_windows

Rows = dict[str, Any]
Model = onnx.ModelProto
ROUNDS, RUNS = 40, 25


class Config(FleetConfig):
    """What configs/studies/compression.yaml may say; the fleet and its nets as in configs/studies/fleet.yaml."""

    folds: int = Field(5, ge=1, le=5, description="So many of the fleet's folds.")
    small: Size = Size(encoder=(12, 16, 16, 16), summary=12, latent=8, decoder=16)
    tuning: Recipe = Recipe(steps=600, learning_rate=1e-3)
    teacher_share: float = Field(0.5, gt=0, le=1)
    calibration: int = Field(400, ge=1)


def study(config: Config, data: Path, console: Console) -> Rows:
    torch.set_num_threads(1)
    with Progress(console=console) as progress:
        work = Work.of(fleet_windows(config), config.work, progress)
        bench = Bench(work, config)
        rows = bench.rows()
        return {"folds": config.folds, "rows": rows, "latency": latency(bench.graphs, bench.eager), "stream": streams()}


class Bench:
    """Makes the rows; keeps the first fold's graphs for size and time."""

    def __init__(self, work: Work, config: Config) -> None:
        self.work, self.config = work, config
        self.parts = work.parts[: config.folds]
        self.graphs: dict[str, bytes] = {}
        self.eager: dict[str, torch.nn.Module] = {}
        work.outcomes("student", student(work, config.size, config.student, config.aware), self.parts)
        work.outcomes("teacher", teacher(work, config.teacher_size, config.teacher), self.parts)
        self._nets: dict[tuple[str, int], ConvDyad] = {}

    def rows(self) -> Rows:
        """Title -> AUROC, size, operators."""
        plain, integer = self._float, self._integer
        makers: dict[str, Callable[[Part], Model]] = {
            "student, float": lambda part: plain(self.learnt(part)),
            "static INT8": lambda part: integer(self.learnt(part), part),
            "static INT8, 7-bit weights": lambda part: integer(self.learnt(part), part, weight_max=63),
            "static INT8, MinMax": lambda part: integer(self.learnt(part), part, share=1.0),
            "dynamic INT8": lambda part: self._dynamic(plain(self.learnt(part))),
            "quantization-aware, INT8": lambda part: self._aware(part),
            "pruned, not trained on": lambda part: plain(prune(self.learnt(part), self.config.small)),
            "pruned, fine-tuned": lambda part: plain(self.pruned(part)),
            "pruned, fine-tuned, INT8": lambda part: integer(self.pruned(part), part),
            "small from the beginning": lambda part: plain(self.small(part)),
            "small from the beginning, INT8": lambda part: integer(self.small(part), part),
            "distilled": lambda part: plain(self.distilled(part)),
            "distilled, INT8": lambda part: integer(self.distilled(part), part),
        }
        made = {title: self.row(title, make) for title, make in makers.items()}
        made |= self.published()
        self.eager["student, torch"] = self.learnt(self.parts[0])
        return made

    def row(self, title: str, make: Callable[[Part], Model]) -> Rows:
        key = "".join(c if c.isalnum() else "-" for c in title)

        def learn(part: Part) -> Scored:
            return {"score": scores(graph_run(make(part).SerializeToString(), CHANNELS), part.judged)[0]}

        found = self.work.outcomes(f"compression-{key}", learn, self.parts)["score"]
        model = make(self.parts[0]).SerializeToString()
        self.graphs[title] = model
        folds = [float(np.round(x, 4)) for x in found.of_folds]
        return {"auroc": round(float(np.mean(folds)), 4), "folds": folds, **about(model)}

    # --- nets, each trained once a fold ------------------------------------------------------------------------------

    def learnt(self, part: Part) -> ConvDyad:
        return self._kept("student-net", part, self.config.size, None)

    def pruned(self, part: Part) -> ConvDyad:
        def train(title: str) -> ConvDyad:
            return self._tuned(title, prune(self.learnt(part), self.config.small), part, self.config.tuning)

        return self._kept("pruned-net", part, self.config.small, train)

    def small(self, part: Part) -> ConvDyad:
        def train(title: str) -> ConvDyad:
            torch.manual_seed(self.config.student.seed)
            net = ConvDyad(self.config.small, kl_steps=max(1, self.config.student.steps // 3))
            return self._tuned(title, net, part, self.config.student)

        return self._kept("small-net", part, self.config.small, train)

    def distilled(self, part: Part) -> ConvDyad:
        def train(title: str) -> ConvDyad:
            master = GruDyad(self.config.teacher_size)
            saved = torch.load(self.work.folder / f"teacher-net-{part.number}.pt", weights_only=True)
            master.load_state_dict(saved)
            recipe = self.config.student
            torch.manual_seed(recipe.seed)
            net = Pupil(self.config.size, master, self.config.teacher_share, kl_steps=max(1, recipe.steps // 3))
            return self._tuned(title, net, part, recipe)

        return self._kept("distilled-net", part, self.config.size, train)

    def _kept(self, name: str, part: Part, size: Size, train: Callable[[str], ConvDyad] | None) -> ConvDyad:
        """The net of a fold: from memory, from its file, or trained now."""
        key = (name, part.number)
        if key not in self._nets:
            path = self.work.folder / f"{name}-{part.number}.pt"
            net = ConvDyad(size)
            if not path.exists() and train is not None:
                torch.save(train(f"{name}, fold {part.number + 1}").state_dict(), path)
            net.load_state_dict(torch.load(path, weights_only=True))
            self._nets[key] = net.eval()
        return self._nets[key]

    def _tuned(self, title: str, net: ConvDyad, part: Part, recipe: Recipe) -> ConvDyad:
        fit(net, snippets(part.learnt, CHANNELS), recipe, self.work.progress, title)
        net.fit_units(snippets(part.held, CHANNELS), CHANNELS)
        return net

    # --- forms --------------------------------------------------------------------------------------------------------

    def _float(self, net: ConvDyad) -> Model:
        return write(net, None).model()

    def _integer(self, net: ConvDyad, part: Part, share: float = RANGE_SHARE, weight_max: int = WEIGHT_MAX) -> Model:
        return quantized(net, drawn(part, self.config.calibration), share, weight_max)

    def _aware(self, part: Part) -> Model:
        """Its ranges are those of the net before that."""
        net = self._kept("aware-net", part, self.config.size, None)
        return write(net, ranges_of(self.learnt(part), drawn(part, self.config.calibration), RANGE_SHARE)).model()

    @staticmethod
    def _dynamic(model: Model) -> Model:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "dynamic.onnx"
            onnx.save(model, source)
            quantize_dynamic(source, target)
            return onnx.load(target)

    def published(self) -> Rows:
        """Size and operators of the published form: ONNX Runtime's dynamic INT8 leaves a GRU in float."""
        net = Dyad(self.config.published_shape, Loss()).eval()
        model = write_dyad(net, self.config.size.steps).model()
        self.graphs["published GRU, float"] = model.SerializeToString()
        self.graphs["published GRU, dynamic INT8"] = self._dynamic(model).SerializeToString()
        self.eager["published GRU, torch"] = net
        return {title: about(self.graphs[title]) for title in self.graphs if title.startswith("published")}


def about(model: bytes) -> Rows:
    counted = operators(model)
    integer = {name: n for name, n in counted.items() if name.startswith("QLinear") or name.endswith("Integer")}
    return {
        "bytes": len(model),
        "integer": integer,
        "float": {name: n for name, n in counted.items() if name in FLOAT_WORK | {"GRU", "LSTM"}},
    }


def latency(graphs: dict[str, bytes], eager: dict[str, torch.nn.Module]) -> Rows:
    """Minimum and median time of a window [ms], all in turn."""
    width, steps = len(CHANNELS), 128
    window = np.random.default_rng(0).normal(size=(1, steps, width)).astype(np.float32)
    feed = {"window": window, "mask": np.ones_like(window)}
    tensors = torch.from_numpy(window), torch.ones(1, steps, width)
    runs: dict[str, Callable[[], Any]] = {}
    for title, model in graphs.items():
        runs[title] = partial(open_session(model, Path(title)).run, None, feed)
    for title, net in eager.items():
        runs[title] = partial(net, *tensors)
    return timed(runs)


def streams() -> Rows:
    """The cell detector's net over a window, and step by step with its state (training/compress/cell_stream.py)."""
    torch.manual_seed(0)
    net, steps = Net().eval(), 128
    window = np.random.default_rng(0).normal(size=(1, steps, len(COLUMNS))).astype(np.float32)
    plain = windowed(net, steps)
    ranges = observe(plain.model(), plain.observed, [{"window": window}])
    runs: dict[str, Callable[[], Any]] = {}
    for kind, given in (("float", None), ("INT8", ranges)):
        whole, stream = windowed(net, steps, given).model(), streamed(net, given).model()
        runs[f"{kind}, a window of {steps} steps"] = partial(session_of(whole).run, None, {"window": window})
        one = {"window": window[:, :1], **beginning(net, given)}
        runs[f"{kind}, one step"] = partial(session_of(stream).run, None, one)
    return timed(runs)


def session_of(model: Model) -> Any:
    return open_session(model.SerializeToString(), Path("study"))


def timed(runs: Mapping[str, Callable[[], Any]]) -> Rows:
    """Minimum and median [ms], all in turn."""
    times: dict[str, list[float]] = {title: [] for title in runs}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for title, run in runs.items():
                run()
                start = time.perf_counter()
                for _ in range(RUNS):
                    run()
                times[title].append((time.perf_counter() - start) / RUNS * 1e3)
    return {t: {"min": round(min(x), 4), "median": round(statistics.median(x), 4)} for t, x in times.items()}
