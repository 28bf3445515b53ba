"""/devices/{node}/{device}/scores and /estimates: what models and physics say of a device."""

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.bus.messages import Estimated, SampleId, Time, Window
from services.ingest.api.access import LAST, After, Cursor, Database, From, Name, Problem, Text, To, streams_of

router = APIRouter(tags=["scores"])
Limit = Annotated[int, Query(ge=1, le=10_000)]
OptionalText = Annotated[Text | None, Query(max_length=64)]


class ScoreItem(BaseModel):
    ts: Time
    boot: str
    seq: int
    model: str = Field(examples=["dyad-int8"])
    bundle: str = Field(examples=["dyad-int8@1.2.0+3fa9"])
    profile: str
    window: Window
    score: float = Field(examples=[1.84])
    threshold: float
    shares: dict[str, float]
    compute_ms: float
    latency_ms: float | None


class ScorePage(BaseModel):
    items: list[ScoreItem]
    next: str | None = Field(description="Pass as `after` for the next page; null = this was the last.")


class EstimateItem(BaseModel):
    ts: Time
    boot: str
    seq: int
    profile: str
    of: SampleId
    values: dict[str, Estimated] = Field(examples=[{"soc": {"value": 0.612, "error": 0.01}}])


class EstimatePage(BaseModel):
    items: list[EstimateItem]
    next: str | None = Field(description="Pass as `after` for the next page; null = this was the last.")


@router.get("/devices/{node}/{device}/scores", responses={404: {"model": Problem}})
async def scores(
    database: Database,
    node: Name,
    device: Name,
    start: From = None,
    to: To = None,
    model: OptionalText = None,
    limit: Limit = 1000,
    after: After = None,
) -> ScorePage:
    """Scores in the order of time."""
    ids = await streams_of(database, node, device, "score", model, start, to)
    rows, following = await page(database, "score", ids, start, to, limit, after)
    return ScorePage(items=[_score(row) for row in rows], next=following)


@router.get("/devices/{node}/{device}/estimates", responses={404: {"model": Problem}})
async def estimates(
    database: Database,
    node: Name,
    device: Name,
    start: From = None,
    to: To = None,
    profile: OptionalText = None,
    limit: Limit = 1000,
    after: After = None,
) -> EstimatePage:
    """Estimates in the order of time."""
    ids = await streams_of(database, node, device, "estimate", profile, start, to)
    rows, following = await page(database, "estimate", ids, start, to, limit, after)
    return EstimatePage(items=[_estimate(row) for row in rows], next=following)


def _score(row: Any) -> ScoreItem:
    known = {k: row[k] for k in ("ts", "boot", "seq", "bundle", "profile", "score", "threshold", "compute_ms")}
    known |= {"model": row["name"], "latency_ms": row["latency_ms"]}
    return ScoreItem(**known, window=json.loads(row["judged"]), shares=json.loads(row["shares"]))


def _estimate(row: Any) -> EstimateItem:
    of = SampleId(boot=row["of_boot"], seq=row["of_seq"])
    known = {k: row[k] for k in ("ts", "boot", "seq")}
    return EstimateItem(**known, profile=row["name"], of=of, values=json.loads(row["estimates"]))


async def page(
    database: Any,
    table: str,
    ids: list[int],
    start: datetime | None,
    to: datetime | None,
    limit: int,
    after: str | None,
) -> tuple[list[Any], str | None]:
    """Rows of some streams in the order (ts, seq, stream), with the streams' names and boots, and the next cursor."""
    cursor = Cursor.start(after, start)
    rows = await database.fetch(
        f"SELECT page.*, t.node, t.device, t.name, t.boot FROM unnest($1::int[]) AS u(id) CROSS JOIN LATERAL (SELECT *"
        f" FROM {table} WHERE stream = u.id AND ts >= $2 AND ts < $3 AND (ts, seq, stream) > ($2, $4, $5)"
        " ORDER BY ts, seq LIMIT $6) AS page JOIN stream t ON t.id = page.stream ORDER BY ts, seq, stream LIMIT $6",
        *(ids, cursor.ts, to or LAST, cursor.seq, cursor.stream, limit),
    )
    if len(rows) < limit:
        return rows, None
    last = rows[-1]
    return rows, Cursor(ts=last["ts"], seq=last["seq"], stream=last["stream"]).text()
