"""Has everything that was published arrived everywhere? Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.bus.messages import Status
from services.bus.topics import PUBLISHER

READ_BY = {"telemetry": ("inference", "alert"), "estimate": ("alert",), "score": ("alert",), "event": ()}


def unsettled(statuses: Mapping[str, Status], streams: Iterable[Mapping[str, Any]], node: str) -> list[str]:
    """What is still under way; empty = nothing.

    Args:
        statuses: the latest status of each service of the node.
        streams: the items of GET /api/v1/streams.
    """
    reasons = [f"{name}: not online" for name in ("sensor", "inference", "alert") if not _online(statuses.get(name))]
    if reasons:
        return reasons
    replay = statuses["sensor"].replay
    if replay is None or not replay.finished:
        done = f"{replay.published} of {replay.rows} rows" if replay else "nothing"
        return [f"sensor: {done} published"]
    stored = {(f"{s['node']}/{s['device']}/{s['kind']}.{s['name']}", s["boot"]): s for s in streams}
    for (stream, _), item in stored.items():
        if item["node"] == node and item["missing"]:
            reasons.append(f"ingest: {item['missing']} of {stream} missing")
    for service in ("sensor", "inference", "alert"):
        for stream, at in statuses[service].positions.items():
            kind = stream.rsplit("/", 1)[-1].split(".")[0]
            if PUBLISHER.get(kind) != service:
                continue
            here = stored.get((stream, at.boot))
            if here is None or here["highest"] < at.seq:
                reasons.append(f"ingest: {here['highest'] if here else 'none'} of {stream} stored, {at.seq} published")
            for reader in READ_BY[kind]:
                read = statuses[reader].positions.get(stream)
                if read is None or (read.boot, read.seq) != (at.boot, at.seq):
                    reasons.append(
                        f"{reader}: {read.seq if read else 'none'} of {stream} worked off, {at.seq} published"
                    )
    return reasons


def _online(status: Status | None) -> bool:
    return status is not None and status.state == "online"
