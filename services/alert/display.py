"""From the engine's state to what the display shows. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from services.alert.engine import Engine, Now
from services.alert.lcd import Entry, View
from services.bus.messages import Estimated
from services.bus.topics import NODE_DEVICE


def view_of(
    engine: Engine, now: Now, since_change_s: float, question: Sequence[str] = (), silenced: bool = False
) -> View:
    """What the outputs show at `now`."""
    rules, revisions = engine.rules.by_name(), engine.register.revisions
    alarms = [
        Entry.of(device, channel, machine, rules[rule], revisions.get((device, rule), 0))
        for device, rule, channel, machine in engine.register.annunciated()
    ]
    readings: list[tuple[str, Mapping[str, object] | None]] = []
    estimates: dict[str, Mapping[str, Estimated]] = {}
    for (device, profile), stream in engine.streams.items():
        if device == NODE_DEVICE:  # this computer: its alarms are shown, its readings are on the dashboard
            continue
        if stream.last is None or engine.liveness.streams[device, profile].update(now.mono):
            readings.append((device, None))
            continue
        known = engine.estimates.get((device, profile), {})
        channels: Mapping[str, object] = stream.last.channels
        if known and "soc" not in channels and "soc" in known:  # the device has none: ours
            channels = {**channels, "soc": known["soc"].value}
        readings.append((device, channels))
        if known:
            estimates[device] = known
    clock = datetime.fromtimestamp(now.wall, UTC).strftime("%H:%M:%S")
    return View(alarms, readings, clock, int(now.mono), since_change_s, question, silenced, now.wall, estimates)
