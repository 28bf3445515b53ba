"""Retained states in the store: the last status of each service, the present state of each alarm."""

from datetime import datetime
from typing import Any, Final

from services.bus.messages import AlarmStatus, Status
from services.bus.topics import Topic

_STATUS: Final = """
INSERT INTO node_status (node, service, session, status, received_at, alive_at)
VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN $5::timestamptz END)
ON CONFLICT (node, service) DO UPDATE SET session = excluded.session, received_at = excluded.received_at,
    alive_at = coalesce(excluded.alive_at, node_status.alive_at),
    status = CASE WHEN excluded.status ->> 'state' = 'offline' THEN node_status.status || excluded.status
                  ELSE excluded.status END"""
_ALARM: Final = """
INSERT INTO alarm (node, device, rule, boot, revision, active, state, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now())
ON CONFLICT (node, device, rule) DO UPDATE SET boot = excluded.boot, revision = excluded.revision,
    active = excluded.active, state = excluded.state, received_at = now()
WHERE excluded.revision >= alarm.revision OR (excluded.boot <> alarm.boot AND excluded.boot = $8)"""


async def store_status(pool: Any, topic: Topic, status: Status, now: datetime, *, alive: bool) -> None:
    """Keep a status; a will (offline) keeps what the service last said of itself."""
    body = status.model_dump_json(exclude_unset=True)
    await pool.execute(_STATUS, topic.node, topic.name, status.session, body, now, alive)


async def store_alarm(pool: Any, topic: Topic, alarm: AlarmStatus, publisher_boot: str | None) -> bool:
    """Keep an alarm's state unless a newer one is known; whether it was taken.

    A lower revision is taken only from a new process start that the publisher's status names (its memory was lost).
    """
    done = await pool.execute(
        *(_ALARM, topic.node, topic.device, topic.name, alarm.boot, alarm.revision, any_active(alarm)),
        *(alarm.model_dump_json(exclude_unset=True), publisher_boot),
    )
    return str(done) == "INSERT 0 1"


def any_active(alarm: AlarmStatus) -> bool:
    """Whether the alarm, or one of its channels', asks for attention: active, or not acknowledged yet."""
    return any(a.active or not a.acknowledged for a in (alarm, *alarm.alarms.values()))
