"""What travels: one model a message kind, and the one map from kind to model.

Everything published is written by `write` and everything received is read by `read`; the AsyncAPI document, the JSON
Schemas and docs/messages.md are generated from `MODELS` (services/bus/reference.py).

Conventions: times are ISO 8601 UTC with milliseconds; `mono` is seconds since the publishing process started its
clock (a recording: since its first row); `boot` is 16 hex digits drawn at process start (a string, because JavaScript
cannot hold 64 bits); (stream, boot, seq) is a message's identity. Current is positive when charging; V, A, degC;
SoC 0..1. `null` = no reading now; a channel absent from the layout is not measured; zero is zero.
"""

from typing import Any, Final, Literal, TypeVar

import orjson
from pydantic import ConfigDict, Field, ValidationError

from services.bus.errors import PayloadError
from services.bus.fields import SEVERITIES as SEVERITIES
from services.bus.fields import Boot as Boot
from services.bus.fields import Channel as Channel
from services.bus.fields import Count as Count
from services.bus.fields import Model as Model
from services.bus.fields import Number as Number
from services.bus.fields import Quality as Quality
from services.bus.fields import Seq as Seq
from services.bus.fields import Severity as Severity
from services.bus.fields import Time as Time
from services.bus.fields import TimeSource as TimeSource
from services.bus.fields import Value as Value
from services.bus.fields import Values as Values
from services.bus.fields import format_time as format_time
from services.bus.fields import new_boot as new_boot
from services.bus.topics import Topic

MAX_PAYLOAD: Final = 65_536  # bytes; the brokers' max_packet_size leaves room for topic and header above it


class StreamMessage(Model):
    """What every stream message carries: its identity and its time."""

    boot: Boot = Field(description="Process start that published it; 16 hex digits.")
    seq: Seq = Field(description="Position in this stream since that start: 0, 1, 2, ..")
    ts: Time = Field(description="When it was true.")
    mono: Number = Field(description="The same by the publisher's steady clock [s].")


class Sample(StreamMessage):
    """telemetry/{profile}: one reading of all channels, or a block of a high-rate profile."""

    time_source: TimeSource = Field("ntp", description="What set the publisher's wall clock; `none` = do not trust ts.")
    layout: str = Field(min_length=8, max_length=8, description="Hash of the layout that this sample follows.")
    channels: dict[Channel, Values] = Field(description="Reading of each channel, in the profile's unit.")
    quality: dict[Channel, Quality] = Field(
        default_factory=dict,
        description="Only what is not good: `suspect`, `estimated`, `range`, `fault:<reason>`. Keys are channels, or "
        "`cell_voltages[7]` for one element of a vector (counted from 0).",
    )
    period_s: Number | None = Field(None, gt=0, description="Block of a high-rate profile: time between elements [s].")
    next_s: Number | None = Field(
        None,
        gt=0,
        description="The device rests: its next sample follows this much later, or sooner when it wakes [s].",
    )
    sent: Number | None = Field(None, description="Node's monotonic clock when it was published, for latency [s].")


class Estimated(Model):
    """One estimated quantity."""

    value: Number = Field(description="Best estimate, in the quantity's unit.")
    error: Number | None = Field(None, ge=0, description="Standard error, same unit.")


class SampleId(Model):
    """Identity of one message within a known stream."""

    boot: Boot = Field(description="Process start of the publisher.")
    seq: Seq = Field(description="Position in the stream since then.")


class Estimate(StreamMessage):
    """estimate/{profile}: what streaming physics says of the device (state of charge, leak current, ..)."""

    of: SampleId = Field(description="The sample up to which it holds.")
    values: dict[Channel, Estimated] = Field(description="Quantity -> estimate.")


class Window(Model):
    """The samples that a score judged."""

    boot: Boot = Field(description="Process start of the sensor.")
    first: Seq = Field(description="First sample (seq).")
    last: Seq = Field(description="Last sample (seq).")
    holes: Count = Field(0, description="Steps that were missing, and were held and masked.")


class Score(StreamMessage):
    """score/{model}: a bundle's judgement of one window. `ts` is the time of the window's last sample."""

    bundle: str = Field(description="name@version+first digits of the model's sha256.")
    profile: str = Field("battery", description="Telemetry stream that was judged.")
    window: Window = Field(description="The samples that were judged.")
    score: Number = Field(description="Higher is stranger.")
    threshold: Number = Field(description="The bundle's own; whether to alarm is a rule's decision.")
    shares: dict[Channel, Number] = Field(default_factory=dict, description="Each channel's part of the score; sum 1.")
    compute_ms: Number = Field(0.0, ge=0, description="Time in the model [ms].")
    latency_ms: Number | None = Field(
        None, ge=0, description="From publishing the sample that completed the window, the next step's first [ms]."
    )


class Evidence(Model):
    """What raised an alarm."""

    channel: str = Field(description="Channel, score or service that the rule watches.")
    value: Number | None = Field(description="What was read; null = nothing.")
    limit: Number | None = Field(description="What it was compared with.")
    unit: str = Field("", description="Unit of both.")
    sample: SampleId | None = Field(None, description="The sample that raised it.")
    window: Window | None = Field(None, description="The samples that the score judged.")
    quality: str = Field("good", description="`good`, or the quality of that reading.")


AlarmState = Literal[
    "normal",
    "unacknowledged_active",
    "acknowledged_active",
    "rtn_unacknowledged",
    "latched_unacknowledged",
    "latched_acknowledged",
    "shelved",
    "suppressed",
    "out_of_service",
]


class Alarm(Model):
    """State of one alarm: one (device, rule, channel). ANSI/ISA-18.2-2016 states."""

    state: AlarmState = Field(description="As in ISA-18.2; rtn = returned to normal.")
    occurrence: str | None = Field(None, description="ULID of this raise; an acknowledge names it.")
    active: bool = Field(description="The condition is true now.")
    acknowledged: bool = Field(True, description="A person has seen this occurrence.")
    latched: bool = Field(False, description="Stays until a person resets it.")
    shelved_until: Time | None = Field(None, description="End of the shelf.")
    severity: Severity = Field(description="Decides light, display and notification.")
    raised_at: Time | None = Field(None, description="Time of the sample that raised it.")
    cleared_at: Time | None = Field(None, description="Time at which the condition ended.")
    count: Count = Field(0, description="Raises so far.")
    text: str = Field("", description="One line for people.")
    evidence: Evidence | None = Field(None, description="What raised it.")


class AlarmStatus(Alarm):
    """alarm/{rule} (retained): the worst state of the rule's alarms; `alarms` by channel when it watches several."""

    boot: Boot = Field(description="Process start of the alert service.")
    revision: Count = Field(description="Rises with every change, over restarts too; drop lower ones.")
    alarms: dict[str, Alarm] = Field(default_factory=dict, description="By channel, when the rule watches several.")


EventType = Literal[
    "raised",
    "escalated",
    "acknowledged",
    "cleared",
    "shelved",
    "unshelved",
    "reset",
    "suppressed",
    "unsuppressed",
    "out_of_service",
    "in_service",
    "drill",
]


class Event(StreamMessage):
    """event/{rule}: one change in an alarm's life. `ts` is when it happened."""

    type: EventType = Field(description="What happened.")
    occurrence: str | None = Field(description="The raise that it belongs to (ULID).")
    revision: Count = Field(description="Of the alarm, after this.")
    by: str | None = Field(None, description="Person and place that commanded it; null = the system.")
    reason: str | None = Field(None, description="As given by that person.")
    trace: str | None = Field(None, description="W3C traceparent.")
    alarm: Alarm = Field(description="The alarm after this.")


class LayoutChannel(Model):
    """One channel of a device."""

    name: Channel = Field(description="Channel of the profile.")
    unit: str = Field(description="Unit of its readings; 1 = a ratio.")
    length: int | None = Field(None, ge=1, le=4096, description="Elements of a vector channel; absent = scalar.")


class Layout(Model):
    """layout/{profile} (retained): which channels this device has."""

    profile: str = Field(description="Profile (profiles/*.yaml).")
    version: int = Field(ge=1, description="Version of the profile.")
    hash: str = Field(min_length=8, max_length=8, description="Samples name it.")
    period_s: Number = Field(gt=0, description="Expected time between samples [s].")
    channels: list[LayoutChannel] = Field(min_length=1, description="In the order of storage.")


class Replay(Model):
    """How far a recorded source is."""

    file: str = Field(description="Name of the recording.")
    rows: Count = Field(description="Rows that it has.")
    published: Count = Field(description="Rows published so far.")
    finished: bool = Field(description="All rows are published.")


class Status(Model):
    """status/{service} (retained, Last Will): life sign of a service, each 5 s (`heartbeat_s`)."""

    state: Literal["online", "offline"] = Field(description="`offline` comes from the service or as its Last Will.")
    session: str = Field(description="Drawn at each connection; a will with another session is stale.")
    installation: str | None = Field(None, description="Drawn once a data folder; none where it cannot be kept.")
    boot: Boot | None = Field(None, description="Process start of its streams.")
    version: str | None = Field(None, description="Of the program.")
    ts: Time | None = Field(None, description="When it was said.")
    time_source: TimeSource | None = Field(None, description="What set that clock.")
    heartbeat_s: Number | None = Field(None, gt=0, description="How often to expect it [s].")
    counters: dict[str, Number] = Field(default_factory=dict, description="What was refused, lost, repaired, ..")
    positions: dict[str, SampleId] = Field(
        default_factory=dict, description="Last message worked off or published, by `{node}/{device}/{stream}`."
    )
    replay: Replay | None = Field(None, description="Sensor that replays a recording: its progress.")
    display: list[str] | None = Field(None, description="What the node's 20x4 display shows (alert service).")


class JournalRange(Model):
    """Messages that the outbox holds."""

    boot: Boot = Field(description="Process start.")
    first: Seq = Field(description="First message held (seq).")
    last: Seq = Field(description="Last message held (seq).")
    from_: Time | None = Field(None, alias="from", description="Time of the oldest message of that start.")
    to: Time | None = Field(None, description="Time of the newest.")
    closed: bool = Field(False, description="The process has ended; nothing follows.")
    timed: bool = Field(True, description="False: the clock was not set; do not ask for it yet.")
    tail_unknown: bool = Field(False, description="Not ended cleanly: up to one group may be missing at the end.")

    model_config = ConfigDict(populate_by_name=True)


class LostRange(Model):
    """Messages that are gone."""

    boot: Boot = Field(description="Process start.")
    first: Seq = Field(description="First message lost (seq).")
    last: Seq = Field(description="Last message lost (seq).")
    from_: Time | None = Field(None, alias="from", description="Time of the first.")
    to: Time | None = Field(None, description="Time of the last.")

    model_config = ConfigDict(populate_by_name=True)


class Journal(Model):
    """journal/{stream} (retained): what the publisher's outbox can still give, and what it had to drop unconfirmed."""

    page: Count = Field(1, description="From 1; the newest starts are on the last page.")
    pages: Count = Field(1, description="How many there are.")
    ranges: list[JournalRange] = Field(default_factory=list, description="What can be asked for.")
    lost: list[LostRange] = Field(default_factory=list, description="Dropped before anybody had confirmed it.")


class Backfill(Model):
    """backfill/{stream}: past messages. Telemetry as columns, other streams as whole messages."""

    boot: Boot = Field(description="Process start that published them.")
    seq: list[Seq] = Field(description="Which messages, ascending.")
    layout: str | None = Field(None, description="Layout of all samples of the block.")
    time_source: TimeSource | None = Field(None, description="Of all samples of the block.")
    ts: list[Time] = Field(default_factory=list, description="Time of each.")
    mono: list[Number] = Field(default_factory=list, description="Steady time of each [s].")
    channels: dict[Channel, list[Values]] = Field(default_factory=dict, description="Channel -> its readings.")
    quality: dict[str, dict[Channel, Quality]] = Field(default_factory=dict, description="By position in `seq`.")
    messages: list[dict[str, Any]] = Field(default_factory=list, description="Whole messages, in the order of `seq`.")
    missing: list[tuple[Seq, Seq]] = Field(default_factory=list, description="Asked for, and not in the journal.")


class Acknowledge(Model):
    """What a person who acknowledges, shelves or resets an alarm saw. `*` as rule acknowledges all active ones."""

    correlation_id: str = Field(min_length=1, max_length=80, description="Repeated in the reply; twice is once.")
    action: Literal["acknowledge", "shelve", "unshelve", "reset", "out_of_service", "in_service", "drill"] = Field(
        description="What to do. `drill` (rule `drill`): raise the labelled test alarm."
    )
    rule: str = Field(description="Which rule's alarm.")
    channel: str | None = Field(None, description="Which of its channels.")
    occurrence: str | None = Field(None, description="The raise that was seen.")
    revision: Count | None = Field(None, description="The revision that was seen.")
    severity: Severity | None = Field(None, description="The severity that was seen.")
    by: str = Field(min_length=1, max_length=120, description="Person and place.")
    reason: str | None = Field(None, max_length=400, description="For the record; a shelf needs one.")
    until: Time | None = Field(None, description="Absolute end of a shelf.")
    expires_at: Time | None = Field(None, description="Do not carry it out after this.")


class Pair(Model):
    """Lets a phone pair for a time, with a node that has no display and button to ask with."""

    correlation_id: str = Field(min_length=1, max_length=80, description="Repeated in the reply.")
    action: Literal["pair"] = Field(description="Open the window.")
    seconds: Number = Field(120.0, gt=0, le=600, description="For so long [s].")
    by: str = Field(min_length=1, max_length=120, description="Person and place.")
    expires_at: Time | None = Field(None, description="Do not carry it out after this.")


class Fetch(Model):
    """Asks a publisher for past messages (`backfill`), or tells it what is safely stored (`confirm`)."""

    correlation_id: str = Field(min_length=1, max_length=80, description="For logs; the answer is the block itself.")
    action: Literal["backfill", "confirm"] = Field(description="Ask for, or confirm.")
    stream: str = Field(description="`telemetry.battery`.")
    device: str | None = Field(None, description="Default: the device in the topic.")
    boot: Boot = Field(description="Process start that published them.")
    ranges: list[tuple[Seq, Seq]] = Field(description="First and last seq of each range.")


class Command(Model):
    """command/{service}: the node is asked."""

    correlation_id: str = Field(min_length=1, max_length=80, description="Repeated in the reply.")
    action: str = Field(description="One of those below.")


class Request(Model):
    """request/{service}: the node asks the cloud."""

    correlation_id: str = Field(min_length=1, max_length=80, description="Repeated in the reply.")
    action: str = Field(description="What the cloud shall do; its further fields follow.")
    device: str | None = Field(None, description="Device that it is about.")

    model_config = ConfigDict(extra="allow")


class Reply(Model):
    """reply/{service}: answer to a command or a request."""

    correlation_id: str = Field(description="Of the command or request.")
    status: Literal["done", "refused", "failed"] = Field(description="Refused: not done, for the reason given.")
    reason: str | None = Field(None, description="Why not.")
    revision: Count | None = Field(None, description="Of the alarm, after this.")


COMMANDS: Final[dict[str, type[Model]]] = {
    **dict.fromkeys(
        ("acknowledge", "shelve", "unshelve", "reset", "out_of_service", "in_service", "drill"), Acknowledge
    ),
    "pair": Pair,
    **dict.fromkeys(("backfill", "confirm"), Fetch),
}
MODELS: Final[dict[str, type[Model]]] = {
    "telemetry": Sample,
    "estimate": Estimate,
    "score": Score,
    "event": Event,
    "alarm": AlarmStatus,
    "layout": Layout,
    "status": Status,
    "journal": Journal,
    "backfill": Backfill,
    "request": Request,
    "reply": Reply,
    "command": Command,
}


M = TypeVar("M", bound=Model)


def read(topic: Topic, payload: bytes) -> Model:
    """Parse a message by the kind in its topic; a command by its action.

    Raises:
        PayloadError: too large, not JSON, or a field is missing or wrong; names the topic and the first bad field.
    """
    model = MODELS[topic.kind]
    message = read_as(topic, payload, model)
    if isinstance(message, Command):
        known = COMMANDS.get(message.action)
        if known is None:
            raise PayloadError(str(topic), f"action: {message.action[:40]!r} is none of {', '.join(sorted(COMMANDS))}")
        return read_as(topic, payload, known)
    return message


def read_as(topic: Topic, payload: bytes, model: type[M]) -> M:
    """Parse a message of a known model. Raises PayloadError as `read`."""
    if len(payload) > MAX_PAYLOAD:
        raise PayloadError(str(topic), f"payload of {len(payload)} bytes, limit {MAX_PAYLOAD}")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first, *more = error.errors(include_url=False, include_input=False)
        # where several types are allowed, the one that went furthest says what is wrong
        furthest = max((e for e in (first, *more) if e["loc"][:2] == first["loc"][:2]), key=lambda e: len(e["loc"]))
        parts = (str(part) for part in furthest["loc"])
        where = ".".join(p for p in parts if p != "float" and not p.startswith("list["))[:120] or "payload"
        raise PayloadError(str(topic), f"{where}: {furthest['msg'][:200]}") from None


def write(message: Model) -> bytes:
    """Serialize a message, leaving out optional fields that are not set."""
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def write_fields(fields: dict[str, Any]) -> bytes:
    """Serialize the hot path's messages from plain fields; NaN and Infinity become null (orjson)."""
    return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
