"""One SQL view a profile, with named columns, for people, Grafana and BI: `SELECT ts, voltage FROM battery_sample`."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from services.bus.messages import LayoutChannel
from services.bus.profiles import Profile

_FIXED: Final = ("node", "device", "boot", "seq", "ts", "quality")
_COLUMNS_MAX: Final = 1600  # PostgreSQL's limit
_EXISTING: Final = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


def view_name(profile: str) -> str:
    """Name of a profile's view; what SQL would want quoted becomes an underscore."""
    return re.sub(r"[^a-z0-9_]", "_", profile)[:50] + "_sample"


def view_sql(profile: str, layouts: Iterable[tuple[int, list[LayoutChannel]]], columns: Iterable[str]) -> str:
    """CREATE OR REPLACE VIEW with the given channel columns, each read from its place in whichever layout a row has.

    Args:
        layouts: (id, channels) of all layouts of the profile.
        columns: channel names in order; one that a layout lacks is null there.
    """
    places: dict[str, dict[int, str]] = {}
    scalar: dict[str, bool] = {}
    for layout, channels in layouts:
        at = 1
        for channel in channels:
            length = channel.length or 1
            slot = f"s.channels[{at}]" if channel.length is None else f"s.channels[{at}:{at + length - 1}]"
            if scalar.setdefault(channel.name, channel.length is None) == (channel.length is None):
                places.setdefault(channel.name, {})[layout] = slot
            at += length
    shown = ["t.node", "t.device", "t.boot", "s.seq", "s.ts", "s.quality"]
    for name in columns:
        cases = " ".join(f"WHEN {layout} THEN {slot}" for layout, slot in places.get(name, {}).items())
        empty = "NULL::real" if scalar.get(name, True) else "NULL::real[]"
        shown.append((f"CASE s.layout {cases} END" if cases else empty) + f' AS "{column(name)}"')
    return (
        f"CREATE OR REPLACE VIEW {view_name(profile)} AS SELECT {', '.join(shown)} FROM sample s"
        f" JOIN stream t ON t.id = s.stream WHERE t.kind = 'telemetry' AND t.name = '{profile}'"
    )


def column(channel: str) -> str:
    return f"{channel}_value" if channel in _FIXED else channel[:63]


async def refresh_view(pool: Any, profile: str, known: Profile | None = None) -> None:
    """Make or extend the view of a profile after a new layout. Columns keep their order: new ones come last."""
    rows = await pool.fetch("SELECT id, channels FROM layout WHERE profile = $1 ORDER BY id", profile)
    layouts = [(r["id"], [LayoutChannel.model_validate(c) for c in json.loads(r["channels"])]) for r in rows]
    names = {channel.name for _, channels in layouts for channel in channels}
    existing = [r["attname"] for r in await pool.fetch(_EXISTING, view_name(profile))][len(_FIXED) :]
    by_column = {column(name): name for name in sorted(names)}
    ordered = [by_column.pop(name, name) for name in existing]
    if known is not None:
        ordered += [c.name for c in known.channels if by_column.pop(column(c.name), None) is not None]
    ordered += list(by_column.values())
    await pool.execute(view_sql(profile, layouts, ordered[: _COLUMNS_MAX - len(_FIXED)]))
