"""Telemetry, scores, estimates and heartbeats in; display, events and retained alarm states out. Wires only.

Order at a change: the display first, then the event (on the disk before it is sent), then the retained state. The
state is kept in one block with each event, and names the events that have yet to follow (`unsent`), so that a service
that is killed in between neither loses nor repeats one.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from services.alert.desk import Desk
from services.alert.display import view_of
from services.alert.drilling import Drilling
from services.alert.engine import DRILL, Engine, Now
from services.alert.lcd import frame
from services.alert.outputs.output import Output
from services.alert.outputs.wiring import wire
from services.alert.register import Change
from services.alert.rules import RuleSet
from services.alert.settings import AlertSettings
from services.bus.client import Bus
from services.bus.feed import Delivery
from services.bus.lifecycle import work
from services.bus.messages import (
    Acknowledge,
    AlarmStatus,
    Pair,
    Reply,
    SampleId,
    StreamMessage,
    new_boot,
    write,
    write_fields,
)
from services.bus.publisher import Publisher
from services.bus.reader import Reader
from services.bus.topics import NODE_DEVICE, Topic

log = logging.getLogger(__name__)
STATE = "alert"
TICK_S = 1.0


async def serve(settings: AlertSettings, rules: RuleSet, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    node = settings.own_node
    desk = Desk(node)
    outputs = wire(settings, desk)
    bus = Bus(settings, service="alert", subscribe=settings.filters, node=node)
    async with bus, Publisher(bus, settings, "alert") as publisher:
        engine = Engine(node, rules, time.monotonic(), cloud=settings.role == "cloud")
        service = Service(bus, publisher, Reader(bus, publisher, settings), engine, outputs, desk, settings)
        await work(service.run(), bus, stop)


class Service:
    """One node's alarms."""

    def __init__(
        self, bus: Bus, publisher: Publisher, reader: Reader, engine: Engine, outputs: Sequence[Output],
        desk: Desk, settings: AlertSettings,
    ) -> None:  # fmt: skip
        self._bus, self._publisher, self._reader, self._engine = bus, publisher, reader, engine
        self._outputs, self._desk, self._settings = outputs, desk, settings
        self._ticked = self._kept = time.monotonic()
        self._commanded: list[Change] = []  # by a person at the node, not published yet
        desk.command = self.command
        desk.on_drill = self._drill
        self._drilling = Drilling(engine, publisher, outputs, settings.data_dir / "alert")
        self._answers: list[tuple[Topic, bytes]] = []
        self._worked_off: dict[Topic, StreamMessage] = {}

    async def run(self) -> None:
        await self._resume()
        for output in self._outputs:
            self._guarded(output, output.open)
        try:
            await self._work()
        finally:
            for output in self._outputs:
                self._guarded(output, output.close)

    async def _work(self) -> None:
        async for batch in self._reader.batches():
            changes, self._commanded = self._commanded, []
            changes += [c for delivery in batch for c in self._judge(delivery)]
            now = _now()
            if now.mono - self._ticked >= TICK_S or changes or self._desk.touched:
                changes += self._engine.tick(now, self._bus.connected)
                changes += self._drilling.look(changes, now)
                self._ticked = now.mono
                self._show(now, changes)
            await self._publish(changes)
            for topic, last in self._worked_off.items():
                position = SampleId(boot=last.boot, seq=last.seq)
                self._bus.positions[f"{topic.node}/{topic.device}/{topic.stream}"] = position
            self._worked_off.clear()
            if now.mono - self._kept >= self._settings.state_s:
                self._keep()
        self._keep()

    def command(self, device: str, command: Acknowledge) -> Reply:
        """Carry out what a person at the node commands (button, phone); the event follows within a tick."""
        reply, changes = self._engine.command(device, command, _now())
        self._commanded += changes
        self._desk.touched = True
        self._bus.counters.add(f"command_{reply.status}")
        return reply

    def _drill(self) -> None:
        """A person at the node held the button for a drill."""
        by = f"button@{self._engine.node}"
        self.command(NODE_DEVICE, Acknowledge(correlation_id=new_boot(), action="drill", rule=DRILL, by=by))

    def _pair(self, command: Pair) -> Reply:
        now = _now()
        try:
            if command.expires_at is not None and command.expires_at.timestamp() < now.wall:
                raise ValueError("the command has expired")
            self._desk.open_window(command.seconds, now.mono)
        except ValueError as error:
            return Reply(correlation_id=command.correlation_id, status="refused", reason=str(error))
        log.info("phones may pair for %g s, says %s", command.seconds, command.by)
        return Reply(correlation_id=command.correlation_id, status="done")

    async def _resume(self) -> None:
        """Go on from the state of the last run; publish the retained states again (the broker may be new)."""
        state = self._publisher.recall(STATE)
        changes: list[Change] = []
        if state is not None:
            self._reader.restore(state["cursors"])
            changes = [Change(**c) for c in state["unsent"]] + self._engine.restore(state["engine"], _now())
        own = {output.name for output in self._outputs}
        for channel in self._engine.alarms_of_outputs() - own:  # taken out of the settings meanwhile
            self._engine.liveness.output(channel, None, time.monotonic())
        for key in self._engine.register.alarms:
            await self._retain(*key)
        await self._publish(changes)

    def _judge(self, delivery: Delivery) -> list[Change]:
        topic, message = delivery.topic, delivery.message
        if isinstance(message, Acknowledge):
            reply, changes = self._engine.command(topic.device, message, _now())
            self._answers.append((Topic(topic.node, topic.device, "reply", "alert"), write(reply)))
            return changes
        if isinstance(message, Pair):
            self._answers.append((Topic(topic.node, topic.device, "reply", "alert"), write(self._pair(message))))
            return []
        if isinstance(message, AlarmStatus):
            self._drilling.heard(topic, message, _now())
            return []
        if isinstance(message, StreamMessage):
            if delivery.late:
                self._bus.counters.add("late_not_judged")
                return []
            self._worked_off[topic] = message
        return self._engine.take(topic, message, _now())

    async def _publish(self, changes: Sequence[Change]) -> None:
        """Events, each with the state that it leads to; then the retained states; then answers to commands."""
        if changes or self._answers:
            state = self._state()
            for i, change in enumerate(changes):
                self._publisher.remember(STATE, state | {"unsent": [c.to_dict() for c in changes[i + 1 :]]})
                topic = Topic(self._engine.node, change.device, "event", change.rule)
                event = await self._publisher.publish(topic, change.fields(), durable=i == len(changes) - 1)
                self._drilling.published(change, event)
                self._bus.counters.add(f"event_{change.type}")
            if not changes:
                self._publisher.remember(STATE, state | {"unsent": []})
            self._kept = time.monotonic()
            for device, rule in dict.fromkeys((c.device, c.rule) for c in changes):
                await self._retain(device, rule)
        answers, self._answers = self._answers, []
        for topic, payload in answers:
            await self._bus.publish(topic, payload)

    async def _retain(self, device: str, rule: str) -> None:
        fields = {"boot": self._publisher.boot} | self._engine.register.status(device, rule)
        topic = Topic(self._engine.node, device, "alarm", rule)
        await self._bus.publish(topic, write_fields(fields), retain=True)

    def _state(self) -> dict[str, Any]:
        return {"engine": self._engine.to_dict(), "cursors": self._reader.cursors()}

    def _keep(self) -> None:
        self._publisher.remember(STATE, self._state() | {"unsent": [c.to_dict() for c in self._commanded]})
        self._kept = time.monotonic()

    def _show(self, now: Now, changes: Sequence[Change]) -> None:
        desk = self._desk
        desk.touched = False
        desk.changed(changes, now.mono)
        view = view_of(self._engine, now, desk.page_s(now.mono), desk.asks(now.mono), desk.silenced(now.mono))
        self._bus.display = frame(view)
        self._bus.counters.set("alarms_shown", len(view.alarms))
        self._bus.counters.set("outputs_failing", sum(output.fault is not None for output in self._outputs))
        for name, value in self._engine.counters().items():
            self._bus.counters.set(name, value)
        for output in self._outputs:
            self._guarded(output, output.show, view)
            for change in changes:
                self._guarded(output, output.changed, change)
            self._engine.liveness.output(output.name, output.fault, now.mono)
        desk.shown(view, now.mono)
        if changes:
            self._bus.beat()

    def _guarded(self, output: Output, call: Callable[..., None], *arguments: Any) -> None:
        """An output may have a bug; alarms go on."""
        try:
            call(*arguments)
        except Exception:
            self._bus.counters.add(f"output_{output.name}_failed")
            log.exception("output %s", output.name)


def _now() -> Now:
    return Now(time.monotonic(), time.time())
