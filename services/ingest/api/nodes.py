"""/nodes and /devices: who is there, and does it live?"""

import json
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.bus.messages import Layout, LayoutChannel, Status, Time
from services.ingest.api.access import Database

router = APIRouter(tags=["nodes"])


class ServiceItem(BaseModel):
    service: str = Field(examples=["sensor"])
    stale: bool = Field(description="Offline, or no heartbeat for three of its periods by the server's clock.")
    received_at: Time
    status: Status


class NodeItem(BaseModel):
    node: str = Field(examples=["pi-cellar"])
    stale: bool = Field(description="No service of it lives.")
    devices: list[str] = Field(examples=[["pack-1"]])
    services: list[ServiceItem]


class DeviceItem(BaseModel):
    node: str
    device: str
    layouts: list[Layout] = Field(description="One a profile.")
    streams: list[str] = Field(examples=[["telemetry.battery", "score.dyad-int8"]])
    first_ts: Time | None = Field(description="Oldest sample; null = none yet.")
    last_ts: Time | None = Field(description="Newest sample.")
    active_alarms: int


@router.get("/nodes")
async def nodes(database: Database) -> list[NodeItem]:
    """Every node that was heard of, with the last status of each of its services."""
    rows = await database.fetch(
        "SELECT *, coalesce(status ->> 'state' <> 'online' OR alive_at < now() - interval '1 second' * 3"
        " * coalesce((status ->> 'heartbeat_s')::float8, 10), true) AS stale FROM node_status ORDER BY node, service"
    )
    devices: dict[str, list[str]] = {}
    for row in await database.fetch("SELECT DISTINCT node, device FROM stream UNION SELECT node, device FROM device"):
        devices.setdefault(row["node"], []).append(row["device"])
    services: dict[str, list[ServiceItem]] = {}
    for row in rows:
        status = Status.model_validate_json(row["status"])
        item = ServiceItem(service=row["service"], stale=row["stale"], received_at=row["received_at"], status=status)
        services.setdefault(row["node"], []).append(item)
    return [
        NodeItem(
            node=node,
            stale=all(item.stale for item in services.get(node, [])),
            devices=sorted(devices.get(node, [])),
            services=services.get(node, []),
        )
        for node in sorted(services.keys() | devices.keys())
    ]


@router.get("/devices")
async def devices(database: Database) -> list[DeviceItem]:
    """Every device, what is measured of it, and from when to when there are samples."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def of(row: Any) -> dict[str, Any]:
        empty: dict[str, Any] = {"layouts": [], "streams": [], "first_ts": None, "last_ts": None, "active_alarms": 0}
        return found.setdefault((row["node"], row["device"]), empty)

    for row in await database.fetch(
        "SELECT node, device, kind || '.' || name AS stream, min(first_ts) FILTER (WHERE kind = 'telemetry') AS first,"
        " max(last_ts) FILTER (WHERE kind = 'telemetry') AS last FROM stream GROUP BY node, device, kind, name"
        " ORDER BY kind, name"
    ):
        device = of(row)
        device["streams"].append(row["stream"])
        for key, value, pick in (("first_ts", row["first"], min), ("last_ts", row["last"], max)):
            device[key] = pick((t for t in (device[key], value) if t is not None), default=None)
    for row in await database.fetch(
        "SELECT d.node, d.device, l.* FROM device d JOIN layout l ON l.id = d.layout ORDER BY l.profile"
    ):
        channels = [LayoutChannel.model_validate(c) for c in json.loads(row["channels"])]
        known = {k: row[k] for k in ("profile", "version", "hash", "period_s")}
        of(row)["layouts"].append(Layout(**known, channels=channels))
    for row in await database.fetch("SELECT node, device, count(*) AS n FROM alarm WHERE active GROUP BY node, device"):
        of(row)["active_alarms"] = row["n"]
    return [DeviceItem(node=node, device=device, **content) for (node, device), content in sorted(found.items())]
