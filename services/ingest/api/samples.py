"""/devices/{node}/{device}/samples: what was measured, raw or as rollups."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from services.bus.messages import LayoutChannel
from services.ingest.api.access import LAST, After, Cursor, Database, From, Name, Problem, Text, To, streams_of
from services.ingest.api.columns import EXPRESSIONS_MAX, Place, places, raw_page, rollup_columns, rollup_page

router = APIRouter(tags=["samples"])
POINTS = 5000  # `auto` answers with at most about so many
Resolution = Literal["raw", "60", "3600", "auto"]
MICROSECONDS = "round(date_part('epoch', ts) * 1e6)::int8"


class SamplePage(BaseModel):
    """Columns: element i of each list belongs to ts[i]."""

    profile: str
    resolution_s: Literal[0, 60, 3600] = Field(description="0 = raw samples.")
    ts: list[str] = Field(examples=[["2026-11-21T08:15:02.250Z"]])
    boot: list[str] | None = Field(None, description="Raw only.", examples=[["9f3c0a517be2d4c8"]])
    seq: list[int] | None = Field(None, description="Raw only.", examples=[[4711]])
    channels: dict[str, list[Any] | dict[str, list[Any]]] = Field(
        description="Raw: a list (of lists for a vector); rollup: min, max and mean, each a list.",
        examples=[{"voltage": [355.2], "cell_voltages": [[3.701, 3.712, 3.688]]}],
    )
    quality: dict[str, dict[str, str]] = Field(
        description="What is not good, by position.", examples=[{"0": {"temperature_min": "fault:crc"}}]
    )
    next: str | None = Field(description="Pass as `after` for the next page; null = this was the last.")


@router.get(
    "/devices/{node}/{device}/samples",
    response_model=SamplePage,
    responses={404: {"model": Problem}, 422: {"description": "A parameter is wrong; the body says which."}},
)
async def samples(
    database: Database,
    node: Name,
    device: Name,
    start: From = None,
    to: To = None,
    profile: Annotated[Text, Query(max_length=64)] = "battery",
    resolution: Annotated[Resolution, Query(description="`auto` = the finest that answers with few points.")] = "auto",
    channels: Annotated[str | None, Query(max_length=4000, examples=["voltage,cell_voltages"])] = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    after: After = None,
) -> Response:
    """A device's samples in the order of time."""
    ids = await streams_of(database, node, device, "telemetry", profile, start, to)
    chosen = _choose(await _places(database, profile), channels, profile)
    if resolution == "auto":
        resolution = await _automatic(database, ids, start, to)
    cursor = Cursor.start(after, start)
    if resolution == "raw":
        page = await _raw(database, profile, ids, chosen, cursor, to or LAST, limit)
    else:
        page = await _rollup(database, profile, int(resolution), ids, chosen, cursor, to or LAST, limit)
    return Response(page, media_type="application/json")


async def _raw(
    database: Any, profile: str, ids: list[int], chosen: list[Place], cursor: Cursor, to: datetime, limit: int
) -> bytes:
    wanted = "".join(f", {place.part('channels')} AS c{number}" for number, place in enumerate(chosen))
    shown = "".join(f", c{number}" for number in range(len(chosen)))
    # Each stream by its own index range: ordered already, so a page costs what it shows.
    rows = await database.fetch(
        f"SELECT stream, {MICROSECONDS}, seq, quality::text{shown} FROM unnest($1::int[]) AS u(id)"
        f" CROSS JOIN LATERAL (SELECT stream, ts, seq, quality{wanted} FROM sample WHERE stream = u.id"
        "   AND ts >= $2 AND ts < $3 AND (ts, seq, stream) > ($2, $4, $5) ORDER BY ts, seq LIMIT $6) AS page"
        " ORDER BY ts, seq, stream LIMIT $6",
        *(ids, cursor.ts, to, cursor.seq, cursor.stream, limit),
    )
    boots = {r["id"]: r["boot"] for r in await database.fetch("SELECT id, boot FROM stream WHERE id = ANY ($1)", ids)}
    following = None
    if len(rows) == limit:
        following = _cursor(rows[-1][1], rows[-1]["seq"], rows[-1]["stream"])
    return raw_page(profile, rows, chosen, boots, following)


async def _rollup(
    database: Any,
    profile: str,
    resolution_s: int,
    ids: list[int],
    chosen: list[Place],
    cursor: Cursor,
    to: datetime,
    limit: int,
) -> bytes:
    expressions = rollup_columns(chosen)
    if len(expressions) > EXPRESSIONS_MAX:
        raise HTTPException(422, f"channels: {len(expressions) // 3} values a time; ask for fewer, or for raw")
    # A period that has begun before `from` counts: its samples reach into the span.
    first = cursor.ts if cursor.seq >= 0 else cursor.ts - timedelta(seconds=resolution_s)
    rows = await database.fetch(
        f"SELECT {', '.join([MICROSECONDS, *expressions])} FROM rollup_{resolution_s}"
        " WHERE stream = ANY ($1) AND ts > $2 AND ts < $3 GROUP BY ts ORDER BY ts LIMIT $4",
        *(ids, first, to, limit),
    )
    following = _cursor(rows[-1][0], 0, 0) if len(rows) == limit else None
    return rollup_page(profile, resolution_s, rows, chosen, following)


def _cursor(microseconds: int, seq: int, stream: int) -> str:
    ts = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=microseconds)
    return Cursor(ts=ts, seq=seq, stream=stream).text()


async def _places(database: Any, profile: str) -> dict[str, Place]:
    rows = await database.fetch("SELECT id, channels FROM layout WHERE profile = $1 ORDER BY id", profile)
    return places(
        (row["id"], [LayoutChannel.model_validate(channel) for channel in json.loads(row["channels"])]) for row in rows
    )


def _choose(known: dict[str, Place], channels: str | None, profile: str) -> list[Place]:
    if channels is None:
        return list(known.values())
    names = dict.fromkeys(name.strip() for name in channels.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise HTTPException(422, f"channels: {name[:64]!r} is not one of {profile}: {', '.join(known) or 'none'}")
    return [known[name] for name in names]


async def _automatic(database: Any, ids: list[int], start: datetime | None, to: datetime | None) -> Resolution:
    row = await database.fetchrow(
        "SELECT min(first_ts) AS first, max(last_ts) AS last, (SELECT min(l.period_s) FROM device d JOIN layout l"
        " ON l.id = d.layout JOIN stream s ON (s.node, s.device, s.name) = (d.node, d.device, d.profile)"
        " WHERE s.id = ANY ($1)) AS period_s FROM stream WHERE id = ANY ($1)",
        ids,
    )
    if row["first"] is None:
        return "raw"
    first, last = max(start or row["first"], row["first"]), min(to or row["last"], row["last"])
    span_s = max((last - first).total_seconds(), 0.0)
    if span_s / (row["period_s"] or 1.0) <= POINTS:
        return "raw"
    return "60" if span_s / 60 <= POINTS else "3600"
