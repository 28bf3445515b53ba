"""From the engine's state to what the display shows. Pure."""

from datetime import UTC, datetime

from services.alert.engine import Engine, Now
from services.alert.lcd import Entry, View


def view_of(engine: Engine, now: Now, since_change_s: float) -> View:
    """What the display shows at `now`."""
    rules = engine.rules.by_name()
    alarms = [
        Entry.of(device, rule, channel, machine, rules[rule].digits)
        for device, rule, channel, machine in engine.register.annunciated()
    ]
    readings = [
        (device, s.last.channels if s.last and not engine.liveness.streams[device, p].update(now.mono) else None)
        for (device, p), s in engine.streams.items()
    ]
    clock = datetime.fromtimestamp(now.wall, UTC).strftime("%H:%M:%S")
    return View(alarms, readings, clock, int(now.mono), since_change_s)
