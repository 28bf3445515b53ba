"""/alarms: present states, history, and the commands of a person."""

import json
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, Field

from services.bus.messages import Acknowledge, Alarm, AlarmStatus, EventType, Reply, Severity, Time, new_boot
from services.bus.topics import CLOUD_NODE, Topic
from services.ingest.api.access import LAST, After, Database, From, Name, OptionalName, Problem, Service, To
from services.ingest.api.scores import Limit, page

router = APIRouter(tags=["alarms"])
SERVICE = "alert"  # the service of a node that keeps its alarms


class AlarmItem(BaseModel):
    node: str
    device: str
    rule: str
    stale: bool = Field(description="The node's alert service is silent: this is the last that was heard.")
    received_at: Time
    alarm: AlarmStatus


class EventItem(BaseModel):
    node: str
    device: str
    rule: str
    ts: Time
    boot: str
    seq: int
    type: EventType
    occurrence: str | None
    revision: int
    by: str | None
    reason: str | None
    alarm: Alarm


class EventPage(BaseModel):
    items: list[EventItem]
    next: str | None = Field(description="Pass as `after` for the next page; null = this was the last.")


class Seen(BaseModel):
    """What the person saw. The node refuses when things have got worse since."""

    by: str = Field(min_length=1, max_length=120, examples=["anna@dashboard"])
    occurrence: str | None = Field(None, examples=["01JC0000000000000000000000"])
    revision: int | None = Field(None, ge=0, examples=[3])
    severity: Severity | None = None
    channel: str | None = Field(None, description="When the rule watches several.")
    reason: str | None = Field(None, max_length=400)
    until: AwareDatetime | None = Field(None, description="Absolute end; a shelf needs one.")


@router.get("/alarms")
async def alarms(
    database: Database,
    ingest: Service,
    node: OptionalName = None,
    device: OptionalName = None,
    active: Annotated[bool | None, Query(description="true = active or not acknowledged; false = the others.")] = None,
) -> list[AlarmItem]:
    """The present state of every alarm, as the nodes published it."""
    rows = await database.fetch(
        "SELECT a.*, s.alive_at > now() - interval '1 second' * 3 * coalesce((s.status ->> 'heartbeat_s')::float8, 10)"
        "   AND s.status ->> 'state' = 'online' AS alive"
        " FROM alarm a LEFT JOIN node_status s ON s.node = a.node AND s.service = $4"
        " WHERE ($1::text IS NULL OR a.node = $1) AND ($2::text IS NULL OR device = $2)"
        " AND ($3::bool IS NULL OR active = $3) ORDER BY a.node, device, rule",
        *(node, device, active, SERVICE),
    )
    return [
        AlarmItem(
            **{k: row[k] for k in ("node", "device", "rule", "received_at")},
            stale=not row["alive"] and row["rule"] != "two_installations",
            alarm=AlarmStatus.model_validate_json(row["state"]),
        )
        for row in rows
    ]


@router.get("/alarms/history")
async def history(
    database: Database,
    start: From = None,
    to: To = None,
    node: OptionalName = None,
    device: OptionalName = None,
    rule: OptionalName = None,
    limit: Limit = 1000,
    after: After = None,
) -> EventPage:
    """Every change of every alarm in the order of time."""
    streams = await database.fetch(
        "SELECT id FROM stream WHERE kind = 'event' AND ($1::text IS NULL OR node = $1)"
        " AND ($2::text IS NULL OR device = $2) AND ($3::text IS NULL OR name = $3)",
        *(node, device, rule),
    )
    rows, following = await page(database, "event", [s["id"] for s in streams], start, to or LAST, limit, after)
    items = [
        EventItem(
            **{k: row[k] for k in ("node", "device", "ts", "boot", "seq", "type", "occurrence", "revision", "reason")},
            rule=row["name"],
            by=row["author"],
            alarm=json.loads(row["alarm"]),
        )
        for row in rows
    ]
    return EventPage(items=items, next=following)


@router.post(
    "/alarms/{node}/{device}/{rule}/{action}",
    responses={504: {"model": Problem, "description": "The node does not answer; nothing is known of the command."}},
)
async def command(
    ingest: Service,
    node: Name,
    device: Name,
    rule: Name,
    action: Literal["acknowledge", "shelve", "unshelve", "reset", "out_of_service", "in_service"],
    seen: Seen,
) -> Reply:
    """Ask the node's alert service; its answer may be `refused`, with the reason."""
    if action == "shelve" and seen.until is None:
        raise HTTPException(422, "until: a shelf needs an absolute end")
    if node == CLOUD_NODE and rule == "two_installations":
        raise HTTPException(422, "two_installations: takes no commands; normal 10 min after one has fallen silent")
    timeout_s = ingest.settings.command_timeout_s
    order = Acknowledge.model_validate(
        seen.model_dump()
        | {"correlation_id": new_boot(), "action": action, "rule": rule, "expires_at": _soon(timeout_s)}
    )
    topic = Topic(node, device, "command", SERVICE)
    try:
        return await ingest.bus.request(topic, order, order.correlation_id, timeout_s)
    except TimeoutError:
        raise HTTPException(504, f"{SERVICE} of node {node} did not answer within {timeout_s:g} s") from None


def _soon(seconds: float) -> datetime:
    now = datetime.now().astimezone()
    return datetime.fromtimestamp(now.timestamp() + seconds, now.tzinfo)
