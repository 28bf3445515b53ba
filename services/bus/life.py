"""Is a status a sign of life? Pure. A broker shows a dead service's retained `online` for ever."""

from datetime import datetime
from typing import Final

from services.bus.messages import Status

HEARTBEATS: Final = (
    3.0  # so many missed = silent, for those who show or store it; the alarm rules have their own number
)
HEARTBEAT_S: Final = 10.0  # where a status does not say


def heartbeat_s(status: Status) -> float:
    """How often the service says that it lives [s]."""
    return status.heartbeat_s or HEARTBEAT_S


def repeats(status: Status, known: Status) -> bool:
    """Whether it is the one that we have already: a retained copy, or a redelivery, and no sign of life."""
    return (status.session, status.ts) == (known.session, known.ts)


def is_recent(status: Status, clock: datetime) -> bool:
    """Whether a status that we see for the first time was sent just now, by its own wall clock and ours."""
    limit = HEARTBEATS * heartbeat_s(status)
    return status.state == "online" and status.ts is not None and abs((clock - status.ts).total_seconds()) < limit
