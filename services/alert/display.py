"""From the engine's state to what the display shows. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.alert.engine import Engine, Now
from services.alert.lcd import Entry, View


def view_of(
    engine: Engine, now: Now, since_change_s: float, question: Sequence[str] = (), silenced: bool = False
) -> View:
    """What the outputs show at `now`."""
    rules, revisions = engine.rules.by_name(), engine.register.revisions
    alarms = [
        Entry.of(device, channel, machine, rules[rule], revisions.get((device, rule), 0))
        for device, rule, channel, machine in engine.register.annunciated()
    ]
    readings = [
        (device, s.last.channels if s.last and not engine.liveness.streams[device, p].update(now.mono) else None)
        for (device, p), s in engine.streams.items()
    ]
    clock = datetime.fromtimestamp(now.wall, UTC).strftime("%H:%M:%S")
    return View(alarms, readings, clock, int(now.mono), since_change_s, question, silenced, now.wall)
