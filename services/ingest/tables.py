"""The store's tables. Changing one means a new file in migrations/versions (a test compares the two).

Stream messages (`sample`, `estimate`, `score`, `event`) are partitioned by month of `ts` with primary key
(stream, ts, seq): one key serves identity and time queries, because (stream, seq) fixes a message's time.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Computed, DateTime, Identity, Index, Integer, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, INT8MULTIRANGE, JSONB, REAL
from sqlmodel import Field, SQLModel

PARTITIONED = ("sample", "estimate", "score", "event")
MISSING = "(announced + int8multirange(int8range(0, coalesce(upper(received), 0)))) - received - lost - untimed"
metadata = SQLModel.metadata
BY_MONTH = {"postgresql_partition_by": "RANGE (ts)"}


def moment(**more: Any) -> Any:
    return Field(sa_type=DateTime(timezone=True), **more)


def numbers() -> Any:
    return Field(sa_column=Column(INT8MULTIRANGE, nullable=False, server_default=text("'{}'")))


def document(nullable: bool = False) -> Any:
    return Field(sa_column=Column(JSONB, nullable=nullable))


class Stream(SQLModel, table=True):
    """One stream of one process start. Sets of seq: what was stored, promised, given up, and not yet dated."""

    __table_args__ = (
        Index("stream_identity", "node", "device", "kind", "name", "boot", unique=True),
        Index("stream_missing", "id", postgresql_where=text("NOT isempty(missing)")),
        {"postgresql_with": {"fillfactor": "50"}},
    )
    id: int = Field(sa_column=Column(Integer, Identity(always=True), primary_key=True))
    node: str
    device: str
    kind: str
    name: str
    boot: str
    received: Any = numbers()
    announced: Any = numbers()
    lost: Any = numbers()
    untimed: Any = numbers()
    missing: Any = Field(sa_column=Column(INT8MULTIRANGE, Computed(MISSING, persisted=True)))
    closed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    tail_unknown: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    first_ts: datetime | None = moment(nullable=True)
    last_ts: datetime | None = moment(nullable=True)


class Receipt(SQLModel, table=True):
    """lo..hi of a stream were stored by the transaction that wrote this row; compacted into stream.received."""

    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    stream: int
    lo: int = Field(sa_type=BigInteger)
    hi: int = Field(sa_type=BigInteger)
    first_ts: datetime | None = moment(nullable=True)
    last_ts: datetime | None = moment(nullable=True)


class Layout(SQLModel, table=True):
    """What the places of sample.channels mean: [{name, unit, length?}, ..]."""

    __table_args__ = (Index("layout_identity", "profile", "hash", unique=True),)
    id: int = Field(sa_column=Column(Integer, Identity(always=True), primary_key=True))
    profile: str
    hash: str
    version: int
    period_s: float
    channels: Any = document()


class Device(SQLModel, table=True):
    """The layout that a device last published for a profile."""

    node: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    profile: str = Field(primary_key=True)
    layout: int
    updated_at: datetime = moment(nullable=False)


class Sample(SQLModel, table=True):
    __table_args__ = (BY_MONTH,)
    stream: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    layout: int  # beside stream: fills the padding before ts, so it costs no byte
    ts: datetime = moment(primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    channels: Any = Field(sa_column=Column(ARRAY(REAL), nullable=False))
    quality: Any = document(nullable=True)


class Estimate(SQLModel, table=True):
    __table_args__ = (BY_MONTH,)
    stream: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: datetime = moment(primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    of_boot: str
    of_seq: int = Field(sa_type=BigInteger)
    estimates: Any = document()


class Score(SQLModel, table=True):
    __table_args__ = (BY_MONTH,)
    stream: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: datetime = moment(primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    score: float = Field(sa_type=DOUBLE_PRECISION)
    threshold: float = Field(sa_type=DOUBLE_PRECISION)
    bundle: str
    profile: str
    judged: Any = document()
    shares: Any = document()
    compute_ms: float = Field(sa_type=REAL)
    latency_ms: float | None = Field(sa_type=REAL, nullable=True)


class Event(SQLModel, table=True):
    __table_args__ = (BY_MONTH,)
    stream: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: datetime = moment(primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    type: str
    occurrence: str | None
    revision: int = Field(sa_type=BigInteger)
    author: str | None
    reason: str | None
    alarm: Any = document()


class Alarm(SQLModel, table=True):
    """The retained present state of each alarm topic."""

    node: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    boot: str
    revision: int = Field(sa_type=BigInteger)
    active: bool
    state: Any = document()
    received_at: datetime = moment(nullable=False)


class NodeStatus(SQLModel, table=True):
    """The last status of each service, by the receiver's clock; a silent one is stale."""

    __tablename__ = "node_status"
    node: str = Field(primary_key=True)
    service: str = Field(primary_key=True)
    session: str
    status: Any = document()
    received_at: datetime = moment(nullable=False)
    alive_at: datetime | None = moment(nullable=True)


class Quarantine(SQLModel, table=True):
    """What could not be read or did not fit, with its reason and the first 64 KiB of it."""

    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    topic: str
    payload: bytes = Field(sa_type=LargeBinary)
    reason: str
    received_at: datetime = moment(nullable=False, sa_column_kwargs={"server_default": text("now()")})


class RollupMark(SQLModel, table=True):
    """A minute of a stream that got a row: its rollups are to be made again."""

    __tablename__ = "rollup_mark"
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    stream: int
    ts: datetime = moment(nullable=False)


class _Rollup(SQLModel):
    stream: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ts: datetime = moment(primary_key=True)
    layout: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    low: Any = Field(sa_type=ARRAY(REAL))
    high: Any = Field(sa_type=ARRAY(REAL))
    mean: Any = Field(sa_type=ARRAY(REAL))
    n: Any = Field(sa_type=ARRAY(Integer))


class Rollup60(_Rollup, table=True):
    """Minimum, maximum, mean and count of each place of `channels` in a minute."""

    __tablename__ = "rollup_60"


class Rollup3600(_Rollup, table=True):
    """The same of an hour."""

    __tablename__ = "rollup_3600"
