"""All devices through all bundles: which pipelines there are, and what a window's score says. No MQTT."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from services.bus.counters import Counters
from services.bus.messages import Layout, Sample, SampleId, format_time
from services.bus.topics import Topic
from services.inference.bundle import Bundle
from services.inference.phase import Cell
from services.inference.pipeline import Pipeline
from services.inference.window import WindowSteps

log = logging.getLogger(__name__)

WAITING_MAX: Final = 20_000  # samples of one stream kept until its layout comes

Remember = Callable[[str, dict[str, Any]], None]
Recall = Callable[[str], dict[str, Any] | None]
Scored = tuple[Topic, dict[str, Any]]


class Judge:
    """Feeds samples to pipelines and makes scores of the windows that come out.

    Args:
        remember: keeps a pipeline's state, together with the next score that is published.
        recall: gives it back after a restart.
        cells: device -> what it is, of those that are single cells. Bundles for cells judge no others.
        clock: the node's steady clock, as in Sample.sent [s].
    """

    def __init__(
        self,
        counters: Counters,
        remember: Remember,
        recall: Recall,
        cells: Mapping[str, Cell] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters, self._remember, self._recall, self._clock = counters, remember, recall, clock
        self._cells = cells or {}
        self._bundles: Mapping[str, Bundle] = {}
        self._layouts: dict[Topic, Layout] = {}
        self._waiting: dict[Topic, list[Sample]] = {}
        self._pipelines: dict[tuple[Topic, str], Pipeline | None] = {}  # None: this device cannot be judged by it
        self._kept: dict[tuple[Topic, str], dict[str, Any]] = {}
        self.positions: dict[str, SampleId] = {}

    def use(self, bundles: Mapping[str, Bundle]) -> None:
        """Judge with these from now on; a changed bundle begins new windows."""
        for key in list(self._pipelines):
            if self._bundles.get(key[1]) is not bundles.get(key[1]):
                del self._pipelines[key]
        self._bundles = dict(bundles)

    def layout(self, topic: Topic, layout: Layout) -> Iterator[Scored]:
        """Learn a device's layout; judge the samples that waited for it."""
        stream = Topic(topic.node, topic.device, "telemetry", topic.name)
        self._layouts[stream] = layout
        for sample in self._waiting.pop(stream, []):
            if sample.layout == layout.hash:
                yield from self.sample(stream, sample)
            else:  # of a layout that nobody announces any more
                self._counters.add("layout_unknown")

    def sample(self, stream: Topic, sample: Sample) -> Iterator[Scored]:
        """Take the next sample of a stream, in order; yield the scores that it completes, mostly none.

        Exhaust it, and publish each score before asking for the next: its state has been remembered just before.
        """
        layout = self._layouts.get(stream)
        if layout is None or layout.hash != sample.layout:
            waiting = self._waiting.setdefault(stream, [])
            if len(waiting) < WAITING_MAX:
                waiting.append(sample)
            self._counters.add("waiting_for_layout")
            return
        for name, bundle in self._bundles.items():
            if bundle.manifest.profile != stream.name:
                continue
            if bundle.manifest.of_cell and stream.device not in self._cells:
                continue
            pipeline = self._pipeline(stream, name, bundle, layout, sample.boot)
            if pipeline is not None:
                outside = pipeline.out_of_domain
                for window in pipeline.add(sample):
                    yield self._score(stream, name, pipeline, sample, window)
                if pipeline.out_of_domain > outside:
                    self._counters.add("out_of_domain", pipeline.out_of_domain - outside)
        self.positions[f"{stream.node}/{stream.device}/{stream.stream}"] = SampleId(boot=sample.boot, seq=sample.seq)

    def keep(self) -> None:
        """Remember what has moved without a score, so that a restart does not begin far back."""
        for (stream, name), pipeline in self._pipelines.items():
            if pipeline is not None:
                self._keep(stream, name, pipeline)

    def passed(self, stream: Topic, sample: Sample) -> None:
        """A sample that came too late to be judged is worked off all the same."""
        name = f"{stream.node}/{stream.device}/{stream.stream}"
        known = self.positions.get(name)
        if known is None or (known.boot == sample.boot and known.seq < sample.seq):
            self.positions[name] = SampleId(boot=sample.boot, seq=sample.seq)

    def hold_back(self, cursors: dict[str, Any]) -> dict[str, Any]:
        """Reading positions less what still waits for its layout."""
        waiting = {str(stream): [s[0].boot, s[0].seq] for stream, s in self._waiting.items() if s}
        return cursors | waiting

    def needed(self, stream: Topic, names: Mapping[str, Bundle]) -> tuple[str, int] | None:
        """(boot, first seq) from which a stream must be delivered again after a restart."""
        states = [s for name in names if (s := self._recall(state_name(stream, name))) is not None]
        boots = {state["boot"] for state in states}
        if len(boots) != 1:
            return None
        return boots.pop(), min(int(state["at"]["seq"]) for state in states)

    def _pipeline(self, stream: Topic, name: str, bundle: Bundle, layout: Layout, boot: str) -> Pipeline | None:
        key = (stream, name)
        if key in self._pipelines:
            pipeline = self._pipelines[key]
            if pipeline is None or (pipeline.boot == boot and pipeline.layout.hash == layout.hash):
                return pipeline
        try:
            pipeline = Pipeline(bundle, layout, boot, self._cells.get(stream.device))
        except ValueError as error:
            self._counters.add("not_judged")
            log.warning("%s/%s: not judged by %s: %s", stream.node, stream.device, bundle.manifest.id, error)
            self._pipelines[key] = None
            return None
        state = self._recall(state_name(stream, name)) if key not in self._pipelines else None
        if state is not None:
            pipeline.restore(state)
        self._pipelines[key] = pipeline
        return pipeline

    def _keep(self, stream: Topic, name: str, pipeline: Pipeline) -> None:
        state = pipeline.state()
        if self._kept.get((stream, name)) != state:
            self._kept[stream, name] = state
            self._remember(state_name(stream, name), state)

    def _score(self, stream: Topic, name: str, pipeline: Pipeline, sample: Sample, window: WindowSteps) -> Scored:
        manifest, last = pipeline.bundle.manifest, pipeline.before or sample
        started = self._clock()
        judgement = pipeline.bundle.judge(window)
        now = self._clock()
        self._keep(stream, name, pipeline)
        self._counters.add("windows")
        fields: dict[str, Any] = {
            "ts": format_time(last.ts),
            "mono": last.mono,
            "bundle": manifest.id,
            "profile": manifest.profile,
            "window": {"boot": sample.boot, "first": window.first, "last": window.last, "holes": window.holes},
            "score": round(judgement.score, 5),
            "threshold": manifest.score.threshold,
            "shares": judgement.shares,
            "compute_ms": round((now - started) * 1e3, 3),
        }
        if sample.sent is not None and now >= sample.sent:
            fields["latency_ms"] = round((now - sample.sent) * 1e3, 3)
        return Topic(stream.node, stream.device, "score", name), fields


def state_name(stream: Topic, bundle: str) -> str:
    return f"window {stream} {bundle}"
