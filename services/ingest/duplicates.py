"""Two installations under one node name: an alarm of the server, as a retained state and in the history."""

import logging
from datetime import UTC, datetime
from typing import Any, Final

from services.bus.client import Bus
from services.bus.messages import Alarm, AlarmStatus, Event, Evidence, new_boot, write
from services.bus.topics import CLOUD_NODE, Topic
from services.ingest.nodes import Installations
from services.ingest.rows import Entry, StreamKey, row

log = logging.getLogger(__name__)

RULE: Final = "two_installations"
_KEPT: Final = "SELECT device, state FROM alarm WHERE node = $1 AND rule = $2"


class DuplicateNodes:
    """Raises and clears the alarm `cloud/{node}/alarm/two_installations`.

    Nobody keeps it in a state machine, so nobody acknowledges it: when it is over it is normal.
    """

    def __init__(self, bus: Bus, installations: Installations | None = None) -> None:
        self._bus = bus
        self._installations = installations or Installations()
        self._boot, self._seq = new_boot(), 0
        self._alarms: dict[str, Alarm] = {}
        self._revision = 0

    async def resume(self, pool: Any, now: float) -> None:
        """Take over what an earlier run has raised, from table `alarm`."""
        for row_ in await pool.fetch(_KEPT, CLOUD_NODE, RULE):
            kept = AlarmStatus.model_validate_json(row_["state"])
            self._revision = max(self._revision, kept.revision)
            self._alarms[row_["device"]] = Alarm.model_validate(kept.model_dump(include=set(Alarm.model_fields)))
            if kept.active or not kept.acknowledged:
                self._installations.resume(row_["device"], now)

    async def heard(self, node: str, installation: str, now: float) -> list[Entry]:
        """Take a node's installation id; the history's entry when that raises the alarm."""
        both = self._installations.heard(node, installation, now)
        if not both or (node in self._alarms and self._alarms[node].active):
            return []
        self._bus.counters.add("two_installations")
        text = f"Two installations publish as node {node}: {', '.join(both)}; give one of them another name"
        log.error("%s", text)
        before = self._alarms.get(node)
        alarm = Alarm(
            state="unacknowledged_active",
            occurrence=new_boot(),
            active=True,
            acknowledged=False,
            severity="high",
            raised_at=datetime.now(UTC),
            count=(before.count if before else 0) + 1,
            text=text,
            evidence=Evidence(channel="installation", value=float(len(both)), limit=1.0),
        )
        return [await self._publish(node, alarm, "raised")]

    async def over(self, now: float) -> list[Entry]:
        """The history's entries of alarms that have ended."""
        entries = []
        for node in self._installations.over(now):
            ended = {"state": "normal", "active": False, "acknowledged": True, "cleared_at": datetime.now(UTC)}
            entries.append(await self._publish(node, self._alarms[node].model_copy(update=ended), "cleared"))
        return entries

    async def _publish(self, node: str, alarm: Alarm, change: str) -> Entry:
        now = datetime.now(UTC)
        self._revision = revision = max(self._revision + 1, int(now.timestamp() * 1000))  # rises over restarts, too
        self._alarms[node] = alarm
        fields: dict[str, Any] = {"boot": self._boot, "revision": revision, "alarms": {}}
        status = AlarmStatus.model_validate(alarm.model_dump() | fields)
        await self._bus.publish(Topic(CLOUD_NODE, node, "alarm", RULE), write(status), retain=True)
        event = Event.model_validate(
            {
                "boot": self._boot,
                "seq": self._seq,
                "ts": now,
                "mono": 0.0,
                "type": change,
                "occurrence": alarm.occurrence,
                "revision": revision,
                "alarm": alarm.model_dump(),
            }
        )
        topic = Topic(CLOUD_NODE, node, "event", RULE)
        entry = Entry(str(topic), b"", key=StreamKey.of(topic, self._boot), rows=list(row(event)), seqs=[self._seq])
        self._seq += 1
        return entry
