"""Telemetry and layouts in, scores and estimates out. Wires only.

Each score is published with the state "this window is judged" in one block of the journal, so a service that is killed
in between neither loses nor repeats one: after a restart it has the samples delivered again from where its next window
begins. So is each estimate, with the state of the device's estimators.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from itertools import chain

from services.bus.client import Bus
from services.bus.feed import Delivery
from services.bus.lifecycle import work
from services.bus.messages import Layout, Sample
from services.bus.publisher import Publisher
from services.bus.reader import Reader
from services.bus.topics import Topic, topic_filter
from services.inference.estimators.devices import Estimators, earliest
from services.inference.judge import Judge
from services.inference.phase import Cell
from services.inference.settings import InferenceSettings
from services.inference.shelf import Shelf

log = logging.getLogger(__name__)
CURSORS = "cursors"
LOOK_S = 2.0  # how often the bundles' folders are looked at
PATIENCE_S = 10.0  # that a gap may hold back what follows; windows are of minutes, and a skipped sample is never judged
KEEP_S = 10.0  # a state each second would wear the card; what came since is delivered again


async def serve(settings: InferenceSettings, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    node, facts = settings.node, settings.facts()
    filters = [topic_filter(node, kind=kind) for kind in ("telemetry", "layout", "journal", "backfill")]
    filters.append(topic_filter(node, kind="command", name="inference"))
    bus = Bus(settings, service="inference", subscribe=filters)
    async with bus, Publisher(bus, settings, "inference") as publisher:
        reader = Reader(bus, publisher, settings, patience_s=PATIENCE_S)
        shelf = Shelf(settings.bundles, settings.references)
        estimators = Estimators(facts, bus.counters, publisher.remember, publisher.recall)
        service = Service(bus, publisher, reader, shelf, settings.single_cells(), estimators)
        await work(service.run(), bus, stop)


class Service:
    """One node's detectors and estimators."""

    def __init__(
        self, bus: Bus, publisher: Publisher, reader: Reader, shelf: Shelf, cells: Mapping[str, Cell],
        estimators: Estimators,
    ) -> None:  # fmt: skip
        self._bus, self._publisher, self._reader, self._shelf = bus, publisher, reader, shelf
        self._judge = Judge(bus.counters, publisher.remember, publisher.recall, cells)
        self._estimators = estimators
        self._looked = self._kept = float("-inf")

    async def run(self) -> None:
        self._look()
        self._resume()
        async for batch in self._reader.batches():
            for delivery in batch:
                await self._take(delivery)
            self._bus.positions.update(self._judge.positions)
            now = time.monotonic()
            if now - self._looked >= LOOK_S:
                self._look()
            if now - self._kept >= KEEP_S:
                self._keep()
        self._keep()

    def _resume(self) -> None:
        """Go back to where the windows begin that were not judged when the last run ended, and the estimators stand."""
        cursors = self._publisher.recall(CURSORS) or {}
        for text in cursors:
            stream, more = Topic.parse(text), cursors[text][2:]
            past = [str(boot[0]) for boot in more[0]["past"]] if more else []
            judged = self._judge.needed(stream, self._shelf.bundles)
            needed = earliest(judged, self._estimators.needed(stream), past)
            if needed is not None:  # what was skipped and which process starts are past stay known
                kept = cursors[text][2:] if cursors[text][0] == needed[0] else []
                cursors[text] = [*needed, *kept]
        self._reader.restore(cursors)

    def _look(self) -> None:
        if self._shelf.refresh():
            self._judge.use(self._shelf.bundles)
        self._bus.counters.set("bundles", len(self._shelf.bundles))
        self._bus.counters.set("bundles_refused", self._shelf.refused)
        self._looked = time.monotonic()

    async def _take(self, delivery: Delivery) -> None:
        topic, message = delivery.topic, delivery.message
        if isinstance(message, Layout):
            scored = self._judge.layout(topic, message)
        elif isinstance(message, Sample):
            if delivery.late:  # its step is closed and masked; going back would score twice
                self._bus.counters.add("late_not_judged")
                self._judge.passed(topic, message)
                return
            scored = chain(self._judge.sample(topic, message), self._estimators.sample(topic, message))
        else:
            return
        for score_topic, fields in scored:
            await self._publisher.publish(score_topic, fields)

    def _keep(self) -> None:
        self._judge.keep()
        self._publisher.remember(CURSORS, self._judge.hold_back(self._reader.cursors()))
        self._kept = time.monotonic()
