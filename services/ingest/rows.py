"""From messages to the store's rows. Pure: no broker, no database.

A row is the tuple of a table's columns after `stream`; `COLUMNS` names them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import orjson

from services.bus.errors import PayloadError
from services.bus.messages import (
    Backfill,
    Estimate,
    Event,
    Layout,
    Model,
    Quality,
    Sample,
    Score,
    StreamMessage,
    Values,
    read_as,
)
from services.bus.profiles import flatten
from services.bus.topics import Topic

TABLE: Final = {"telemetry": "sample", "estimate": "estimate", "score": "score", "event": "event"}
COLUMNS: Final = {
    "sample": ("layout", "ts", "seq", "channels", "quality"),
    "estimate": ("ts", "seq", "of_boot", "of_seq", "estimates"),
    "score": (
        *("ts", "seq", "score", "threshold", "bundle", "profile", "judged", "shares", "compute_ms", "latency_ms"),
    ),
    "event": ("ts", "seq", "type", "occurrence", "revision", "author", "reason", "alarm"),
}
TIME_AT: Final = {table: columns.index("ts") for table, columns in COLUMNS.items()}
STREAMS: Final[dict[str, type[StreamMessage]]] = {
    "telemetry": Sample,
    "estimate": Estimate,
    "score": Score,
    "event": Event,
}
FIRST_YEAR, LAST_YEAR = 2000, 2100  # there is a partition for each month of these when it is needed
Row = tuple[Any, ...]


class StreamKey(NamedTuple):
    """Identity of one stream of one process start."""

    node: str
    device: str
    kind: str
    name: str
    boot: str

    @classmethod
    def of(cls, topic: Topic, boot: str) -> "StreamKey":
        return cls(topic.node, topic.device, topic.kind, topic.name, boot)


class Acknowledged(Protocol):
    def ack(self) -> bool: ...


@dataclass(slots=True)
class Entry:
    """What one message, or a part of a backfill block, brings to the store.

    `rows` go to the stream's table; `seqs` are received whether stored or set aside; with a `reason` the payload goes
    to quarantine. The message is acknowledged when all of it is committed.
    """

    topic: str
    payload: bytes
    message: Acknowledged | None = None
    key: StreamKey | None = None
    rows: list[Row] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    reason: str | None = None
    live: bool = False

    @property
    def table(self) -> str:
        return TABLE[self.key.kind] if self.key else ""


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """A layout and its key in the store."""

    id: int
    layout: Layout


def row(message: Model, layout: StoredLayout | None = None) -> Iterator[Row]:
    """Rows of one stream message (a block gives one a reading).

    Raises:
        ValueError: the channels do not fit the layout; says which and how.
    """
    if isinstance(message, Sample):
        assert layout is not None
        yield from sample_rows(message, layout)
    elif isinstance(message, Score):
        window, shares = _json(message.window.model_dump()), _json(message.shares)
        yield (
            *(message.ts, message.seq, message.score, message.threshold, message.bundle, message.profile),
            *(window, shares, message.compute_ms, message.latency_ms),
        )
    elif isinstance(message, Estimate):
        values = _json({name: value.model_dump() for name, value in message.values.items()})
        yield (message.ts, message.seq, message.of.boot, message.of.seq, values)
    elif isinstance(message, Event):
        alarm = message.alarm.model_dump_json()
        yield (
            *(message.ts, message.seq, message.type, message.occurrence, message.revision),
            *(message.by, message.reason, alarm),
        )
    else:
        raise TypeError(f"{type(message).__name__} is not stored in a stream")


def sample_rows(sample: Sample, layout: StoredLayout) -> Iterator[Row]:
    """One row of a sample; of a block (`period_s`) one each reading, with the same seq and its own time."""
    quality = _json(sample.quality) if sample.quality else None
    if sample.period_s is None:
        yield (layout.id, sample.ts, sample.seq, flatten(layout.layout, sample.channels), quality)
        return
    for at, channels in enumerate(_readings(sample.channels)):
        ts = sample.ts + timedelta(seconds=at * sample.period_s)
        yield (layout.id, ts, sample.seq, flatten(layout.layout, channels), quality)


def backfill_entries(
    topic: Topic, payload: bytes, block: Backfill, layout: StoredLayout | None
) -> tuple[Entry, list[Entry]]:
    """What a block brings: one entry with the rows that fit, and one for each message that does not.

    `topic` is the stream's. Raises PayloadError when the block as a whole is wrong.
    """
    key, table = StreamKey.of(topic, block.boot), TABLE[topic.kind]
    good, bad = Entry(str(topic), payload, key=key), list[Entry]()
    for seq, message, quality in _messages(topic, block):
        try:
            if isinstance(message, dict):
                assert layout is not None
                rows: list[Row] = [
                    (layout.id, message["ts"], seq, flatten(layout.layout, message["channels"]), quality)
                ]
            else:
                parsed = read_as(topic, message, STREAMS[topic.kind])
                if parsed.boot != block.boot or parsed.seq != seq:
                    raise ValueError(f"message {parsed.boot}/{parsed.seq} in the place of {block.boot}/{seq}")
                rows = list(row(parsed, layout))
            bad_time = next((r for r in rows if not in_range(r[TIME_AT[table]])), None)
            if bad_time is not None:
                raise ValueError(out_of_range(bad_time[TIME_AT[table]]))
        except (ValueError, PayloadError) as error:
            content = message if isinstance(message, bytes) else orjson.dumps(message, default=str)
            bad.append(Entry(str(topic), content, key=key, seqs=[seq], reason=str(error)))
        else:
            good.rows.extend(rows)
            good.seqs.append(seq)
    return good, bad


def _messages(topic: Topic, block: Backfill) -> Iterator[tuple[int, dict[str, Any] | bytes, str | None]]:
    """The block's messages: (seq, channels of a column block or a whole message, quality)."""
    if block.messages:
        if len(block.messages) != len(block.seq):
            raise PayloadError(str(topic), f"{len(block.messages)} messages for {len(block.seq)} seqs")
        for seq, message in zip(block.seq, block.messages, strict=True):
            yield seq, orjson.dumps({"boot": block.boot, "seq": seq, **message}), None
        return
    if not block.seq:
        return
    if topic.kind != "telemetry":
        raise PayloadError(str(topic), "messages: expected whole messages, only telemetry comes as columns")
    lengths = {"ts": len(block.ts)} | {name: len(column) for name, column in block.channels.items()}
    for name, length in lengths.items():
        if length != len(block.seq):
            raise PayloadError(str(topic), f"{name}: {length} values for {len(block.seq)} seqs")
    for at, seq in enumerate(block.seq):
        channels = {name: column[at] for name, column in block.channels.items()}
        quality = block.quality.get(str(at))
        yield seq, {"ts": block.ts[at], "channels": channels}, _json(quality) if quality else None


def in_range(time: datetime) -> bool:
    """Whether a message of this time is stored; others go to quarantine."""
    return FIRST_YEAR <= time.year < LAST_YEAR


def out_of_range(time: datetime) -> str:
    return f"ts: {time.isoformat()} is not between {FIRST_YEAR} and {LAST_YEAR}"


def _readings(channels: Mapping[str, Values]) -> Iterable[dict[str, Values]]:
    lengths = {len(values) for values in channels.values() if isinstance(values, list)}
    if len(lengths) != 1:
        raise ValueError("block: the channels' lists have different lengths")
    for at in range(lengths.pop()):
        yield {name: values[at] if isinstance(values, list) else values for name, values in channels.items()}


def _json(value: Mapping[str, Any] | dict[str, Quality]) -> str:
    return orjson.dumps(value).decode()
