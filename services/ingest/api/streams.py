"""/streams and /quarantine: what came, what is missing, what is lost, what could not be read."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.bus.messages import Time
from services.ingest.api.access import Database, OptionalName
from services.ingest.receipts import from_multirange

router = APIRouter(tags=["streams"])
Ranges = list[tuple[int, int]]


class StreamItem(BaseModel):
    """Counts are messages of this boot; ranges are seqs, both ends included."""

    node: str
    device: str
    kind: str = Field(examples=["telemetry"])
    name: str = Field(examples=["battery"])
    boot: str
    received: int = Field(description="Stored, or set aside in quarantine.")
    announced: int = Field(description="The publisher's journal said that these exist (or existed).")
    missing: int = Field(description="Announced or passed over, and neither received nor lost.")
    lost: int = Field(description="Their publisher says that it no longer has them.")
    untimed: int = Field(description="Announced without a trusted time; not asked for until they are dated.")
    highest: int = Field(description="Highest seq received; -1 = none.")
    received_ranges: Ranges = Field(examples=[[[0, 4711]]])
    missing_ranges: Ranges
    lost_ranges: Ranges
    closed: bool = Field(description="The process start has ended; nothing follows.")
    tail_unknown: bool = Field(description="It did not end cleanly: up to one group may be missing at its end.")
    first_ts: Time | None
    last_ts: Time | None


class QuarantineItem(BaseModel):
    id: int
    topic: str
    reason: str = Field(examples=["channels.voltage: Input should be a valid number"])
    payload: str = Field(description="The first 64 KiB as text; base64 when it is none.")
    encoding: str = Field(examples=["utf-8"])
    received_at: Time


@router.get("/streams")
async def streams(
    database: Database,
    node: OptionalName = None,
    device: OptionalName = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
) -> list[StreamItem]:
    """Every stream of every process start, newest first."""
    rows = await database.fetch(
        "SELECT * FROM stream WHERE ($1::text IS NULL OR node = $1) AND ($2::text IS NULL OR device = $2)"
        " ORDER BY id DESC LIMIT $3",
        *(node, device, limit),
    )
    items = []
    for row in rows:
        sets = {k: from_multirange(row[k]) for k in ("received", "announced", "missing", "lost", "untimed")}
        known = ("node", "device", "kind", "name", "boot", "closed", "tail_unknown", "first_ts", "last_ts")
        item = StreamItem(
            **{k: row[k] for k in known},
            **{k: ranges.count for k, ranges in sets.items()},
            highest=sets["received"].highest,
            received_ranges=list(sets["received"]),
            missing_ranges=list(sets["missing"]),
            lost_ranges=list(sets["lost"]),
        )
        items.append(item)
    return items


@router.get("/quarantine")
async def quarantine(database: Database, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[QuarantineItem]:
    """What could not be read or did not fit, newest first."""
    items = []
    for row in await database.fetch("SELECT * FROM quarantine ORDER BY id DESC LIMIT $1", limit):
        try:
            payload, encoding = row["payload"].decode(), "utf-8"
        except UnicodeDecodeError:
            payload, encoding = base64.b64encode(row["payload"]).decode(), "base64"
        known = {k: row[k] for k in ("id", "topic", "reason", "received_at")}
        items.append(QuarantineItem(**known, payload=payload, encoding=encoding))
    return items
