"""/healthz: does the service do its work?"""

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from services.ingest.api.access import Service
from services.ingest.database import TRANSIENT

router = APIRouter(tags=["health"])
LAG_MAX_S = 30.0


class Health(BaseModel):
    ok: bool
    database: bool = Field(description="PostgreSQL answers.")
    broker: bool = Field(description="The MQTT broker is connected.")
    lag_s: float = Field(description="Age of the oldest message that was taken and is not committed [s].")
    counters: dict[str, float] = Field(examples=[{"rows": 4712, "quarantined": 0, "missing": 0}])


@router.get("/healthz", responses={503: {"model": Health, "description": "Something is broken; the body says what."}})
async def health(ingest: Service, response: Response) -> Health:
    """200 when database and broker are there and messages are stored within 30 s."""
    try:
        async with asyncio.timeout(3):
            database = await ingest.pool.fetchval("SELECT 1") == 1
    except TRANSIENT:
        database = False
    lag, broker = ingest.lag_s, ingest.bus.connected
    ok = database and broker and lag < LAG_MAX_S and ingest.failed is None
    response.status_code = 200 if ok else 503
    return Health(ok=ok, database=database, broker=broker, lag_s=round(lag, 3), counters=ingest.bus.counters.as_dict())
