"""Carries a drill out: begins it, follows its way through outputs, broker and server, ends it and writes it down."""

import asyncio
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from services.alert.drill import BROKER, SERVER, Drill, interrupts
from services.alert.engine import Engine, Now
from services.alert.outputs.output import Output
from services.alert.register import Change
from services.bus.messages import AlarmStatus, SampleId, format_time
from services.bus.publisher import Publisher
from services.bus.topics import NODE_DEVICE, Topic

log = logging.getLogger(__name__)

FILE: Final = "drills.jsonl"


class Drilling:
    """Args: folder: where the log of drills is kept, a JSON object a line."""

    def __init__(self, engine: Engine, publisher: Publisher, outputs: Sequence[Output], folder: Path) -> None:
        self._engine, self._publisher, self._outputs = engine, publisher, outputs
        self._path = folder / FILE
        self._drill: Drill | None = None
        self._event: tuple[Topic, SampleId] | None = None

    def look(self, changes: Sequence[Change], now: Now) -> list[Change]:
        """Begin what was asked for, end what is over. Returns further changes. Call it before anything is shown."""
        for change in changes:
            if change.type == "drill":
                self._begin(change)
        drill = self._drill
        if drill is None:
            return self._engine.end_drill("the service was restarted", now)
        self._follow(drill, now)
        if interrupts(changes, (rule.name for rule in self._engine.rules.drills)):
            return self._end(drill, f"a real alarm; {drill.report()}", now)
        return self._end(drill, drill.report(), now) if drill.over(now.mono) else []

    def published(self, change: Change, event: SampleId) -> None:
        if change.type == "drill":
            self._event = (Topic(self._engine.node, NODE_DEVICE, "event", change.rule), event)

    def heard(self, topic: Topic, status: AlarmStatus, now: Now) -> None:
        """The broker sent us our own alarm."""
        if self._drill is not None and topic.name == self._drill.rule.name and status.active:
            self._drill.answered(BROKER, now.mono)

    def _begin(self, change: Change) -> None:
        rule = next(rule for rule in self._engine.rules.drills if rule.name == change.rule)
        hops = dict.fromkeys((*(o.name for o in self._outputs if o.drawn is not None), BROKER, SERVER))
        self._event = None
        self._drill = Drill(rule, change.by or "", change.mono, hops, heard_server=bool(self._publisher.confirmed))

    def _follow(self, drill: Drill, now: Now) -> None:
        for output in self._outputs:
            drill.drawn(output.name, output.drawn or ())
            if output.fault is not None:
                drill.faults[output.name] = output.fault
        if self._event is not None:
            topic, event = self._event
            confirmed = self._publisher.confirmed.get((str(topic), event.boot))
            if confirmed is not None and event.seq in confirmed:
                drill.heard_server = True
                drill.answered(SERVER, now.mono)

    def _end(self, drill: Drill, reason: str, now: Now) -> list[Change]:
        self._drill = None
        log.info("drill by %s: %s", drill.by, reason)
        line = orjson.dumps(drill.record(format_time(datetime.fromtimestamp(now.wall, UTC)))) + b"\n"
        asyncio.get_running_loop().run_in_executor(None, self._write, line)
        return self._engine.end_drill(reason, now)

    def _write(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.error("%s: the drill could not be written down: %s", self._path, error)
