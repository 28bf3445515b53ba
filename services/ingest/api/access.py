"""What every route needs: the running service, times, cursors, names, the streams of a device."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field

from services.bus.topics import check_name
from services.ingest.service import Ingest


def running(request: Request) -> Ingest:
    ingest: Ingest = request.app.state.ingest
    return ingest


def database(request: Request) -> Any:
    """The asyncpg pool."""
    return running(request).pool


def _name(value: str) -> str:
    return check_name("name", value)


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a zero byte is in no name")
    return value


def _time(value: datetime) -> datetime:
    """In UTC; what lies beyond the calendar with its offset becomes the last time that can be reckoned with."""
    try:
        return min(max(value.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:
        return EARLIEST if value.year == 1 else LATEST


Service = Annotated[Ingest, Depends(running)]
Database = Annotated[Any, Depends(database)]
Name = Annotated[str, BeforeValidator(_name), Path(examples=["pack-1"])]
Text = Annotated[str, AfterValidator(_text)]
Moment = Annotated[AwareDatetime, AfterValidator(_time)]
OptionalName = Annotated[Text | None, Query(examples=["pack-1"])]
From = Annotated[Moment | None, Query(alias="from", examples=["2026-11-21T08:00:00Z"])]
To = Annotated[Moment | None, Query(examples=["2026-11-21T09:00:00Z"], description="Not included.")]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]
EARLIEST, LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Problem(BaseModel):
    """Body of an error."""

    detail: str = Field(examples=["no device pack-9 of node pi-cellar"])


class Cursor(BaseModel):
    """Place in the order (ts, seq, stream) after which a page begins."""

    ts: datetime
    seq: int
    stream: int

    def text(self) -> str:
        microseconds = round(self.ts.timestamp() * 1e6)
        return base64.urlsafe_b64encode(f"{microseconds} {self.seq} {self.stream}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises HTTPException 422 when it is not one of ours."""
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
            microseconds, seq, stream = map(int, plain.split(" "))
            ts = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
            if not (FIRST <= ts < LAST and 0 <= seq < 2**53 and 0 <= stream < 2**31):
                raise ValueError(plain)
        except (ValueError, OverflowError, OSError, binascii.Error):
            raise HTTPException(422, f"after: {text[:40]!r} is not a cursor that this interface gave") from None
        return cls(ts=ts, seq=seq, stream=stream)

    @classmethod
    def start(cls, after: str | None, start: datetime | None) -> "Cursor":
        """Where to begin: behind `after`, or at `start`."""
        return cls.parse(after) if after else cls(ts=start or FIRST, seq=-1, stream=-1)


async def streams_of(
    database: Any, node: str, device: str, kind: str, name: str | None, start: datetime | None, end: datetime | None
) -> list[int]:
    """Keys of a device's streams that reach into a span of time.

    Raises:
        HTTPException: 404 when the device has never been heard of; 422 when the span is empty.
    """
    if start is not None and end is not None and end <= start:
        raise HTTPException(422, f"to: {end.isoformat()} is not after from: {start.isoformat()}")
    rows = await database.fetch(
        "SELECT id FROM stream WHERE node = $1 AND device = $2 AND kind = $3 AND ($4::text IS NULL OR name = $4)"
        " AND ((coalesce(last_ts, 'infinity') >= $5 AND coalesce(first_ts, '-infinity') < $6)"
        " OR id IN (SELECT stream FROM receipt))",  # its times are a second behind while it is written
        *(node, device, kind, name, start or FIRST, end or LAST),
    )
    if not rows and not await database.fetchval(
        "SELECT EXISTS (SELECT FROM stream WHERE node = $1 AND device = $2)"
        " OR EXISTS (SELECT FROM device WHERE node = $1 AND device = $2)",
        *(node, device),
    ):
        raise HTTPException(404, f"no device {device} of node {node}")
    return [row["id"] for row in rows]
