"""Everything that the page shows of one device at one moment, built once a tick for all open tabs. Pure."""

from dataclasses import dataclass
from typing import Final

from services.bus.messages import Alarm, Replay
from services.bus.topics import CLOUD_NODE, NODE_DEVICE
from services.dashboard.alarms import AlarmRow, Banner, banner, rows, time_words
from services.dashboard.estimates import estimate_tiles
from services.dashboard.panels import BATTERY, Panel, cell_panel, line_panels, other_plans, score_panel
from services.dashboard.staleness import Freshness, Life, ServiceLife, freshness
from services.dashboard.state import DeviceFeed, Key, ProfileFeed, World
from services.dashboard.tiles import Tile, battery_tiles, other_tiles

BATTERY_PROFILE: Final = "battery"


@dataclass(frozen=True, slots=True)
class Connection:
    """Our own connection to the broker. `cut_since`, `connected_at`: our steady clock [s], one of them None."""

    broker: str
    cut_since: float | None
    connected_at: float | None
    rejected: int = 0
    failed: str | None = None  # why the feed has ended, if it has


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service and whether it lives. `heard_s`: time since its last sign of life [s]."""

    node: str
    service: str
    life: Life
    heard_s: float
    version: str
    counters: dict[str, float]


@dataclass(frozen=True, slots=True)
class View:
    """What to draw. `recorded`: the time of the last sample as the sample says."""

    key: Key
    connection: Connection
    fresh: Freshness
    banner: Banner
    tiles: list[Tile]
    estimates: list[Tile]
    panels: list[Panel]
    alarms: list[AlarmRow]
    elsewhere: list[AlarmRow]
    display: list[str] | None
    display_life: Life | None
    recorded: str
    replay: Replay | None
    late: int = 0


def build(world: World, key: Key, connection: Connection, now: float, window_s: float | None) -> View:
    """Look at one device. `window_s`: how much recorded time the charts show, None = all that is kept."""
    node, _ = key
    device = world.devices.get(key) or DeviceFeed()
    name, feed = _main_profile(device)
    sensor, alert = world.services.get((node, "sensor")), world.services.get((node, "alert"))
    connected_at = connection.connected_at
    fresh = freshness(
        now,
        cut_since=connection.cut_since,
        sensor=sensor,
        arrived=feed.arrived if feed else None,
        period_s=feed.period_s if feed else None,
        connected_at=connected_at,
    )
    found = rows(
        (owner, rule, status, _stale(world, owner, connection, now)) for owner, rule, status in world.alarms_of(key)
    )
    sample = feed.latest if feed else None
    return View(
        key=key,
        connection=connection,
        fresh=fresh,
        banner=banner(found, fresh, alert.life(now, connected_at) if alert else None),
        tiles=battery_tiles(sample, fresh) if name == BATTERY_PROFILE else other_tiles(sample, fresh, _units(feed)),
        estimates=estimate_tiles(device.estimates.get(name), fresh),
        panels=_panels(device, name, feed, found, fresh, window_s),
        alarms=found,
        elsewhere=_elsewhere(world, key),
        display=alert.status.display if alert else None,
        display_life=alert.life(now, connected_at) if alert else None,
        recorded=time_words(sample.ts) if sample else "",
        replay=sensor.status.replay if sensor else None,
        late=feed.late if feed else 0,
    )


def services(world: World, now: float, connected_at: float | None) -> list[ServiceRow]:
    """All services of all nodes; the dashboards themselves are left out."""
    return [
        ServiceRow(node, service, s.life(now, connected_at), now - s.heard, s.status.version or "", s.status.counters)
        for (node, service), s in sorted(world.services.items())
        if service != "dashboard"
    ]


def _main_profile(device: DeviceFeed) -> tuple[str, ProfileFeed | None]:
    for name in (BATTERY_PROFILE, *device.profiles):
        if name in device.profiles:
            return name, device.profiles[name]
    return BATTERY_PROFILE, None


def _units(feed: ProfileFeed | None) -> dict[str, str]:
    layout = feed.layout if feed else None
    return {c.name: c.unit for c in layout.channels if c.length is None} if layout else {}


def _panels(
    device: DeviceFeed,
    name: str,
    feed: ProfileFeed | None,
    found: list[AlarmRow],
    fresh: Freshness,
    window_s: float | None,
) -> list[Panel]:
    if feed is None or feed.latest is None:
        return []
    plans = BATTERY if name == BATTERY_PROFILE else other_plans(_units(feed))
    standing: list[Alarm] = [row.alarm for row in found if row.alarm.active]
    period_s = max(feed.period_s, feed.rest_s)  # points of a rest are no holes
    panels = line_panels(plans, feed.points, period_s, standing, window_s, stale=not fresh.current)
    cells = feed.latest.channels.get("cell_voltages")
    if isinstance(cells, list) and (panel := cell_panel(cells, stale=not fresh.current)):
        panels.append(panel)
    for model, points in device.scores.items():
        if panel := score_panel(model, points, device.last_score.get(model), window_s):
            panels.append(panel)
    return panels


def _stale(world: World, owner: Key, connection: Connection, now: float) -> bool:
    """Whether an alarm's state may be outdated: its publisher, or our broker, is silent."""
    alert: ServiceLife | None = world.services.get((owner[0], "alert"))
    gone = alert is None or alert.life(now, connection.connected_at) in ("offline", "silent")
    return connection.cut_since is not None or gone


def _elsewhere(world: World, key: Key) -> list[AlarmRow]:
    """Alarms that need somebody, of devices that are not shown."""
    here = {key, (key[0], NODE_DEVICE), (CLOUD_NODE, key[0])}
    others = [
        (owner, rule, status, False)
        for owner, device in world.devices.items()
        if owner not in here
        for rule, status in device.alarms.items()
    ]
    return [row for row in rows(others) if row.attention]
