"""Messages: what is written is read; whatever else comes is a PayloadError that says where."""

import contextlib
import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.bus.errors import PayloadError
from services.bus.examples import EXAMPLES, Example
from services.bus.messages import (
    COMMANDS,
    MAX_PAYLOAD,
    MODELS,
    Journal,
    JournalRange,
    Model,
    Reply,
    Sample,
    Status,
    format_time,
    new_boot,
    read,
    read_as,
    write,
    write_fields,
)
from services.bus.topics import KINDS, Topic

TELEMETRY = Topic("pi", "pack-1", "telemetry", "battery")
SAMPLE: dict[str, Any] = EXAMPLES[0].payload
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ids = [f"{e.topic.rsplit('/', 2)[1]}-{n}" for n, e in enumerate(EXAMPLES)]


def refusal(topic: Topic, payload: bytes) -> str:
    with pytest.raises(PayloadError) as caught:
        read(topic, payload)
    assert str(caught.value).startswith(str(topic))
    return caught.value.reason


def with_(**changes: Any) -> bytes:
    return json.dumps(SAMPLE | changes).encode()


@pytest.mark.parametrize("example", EXAMPLES, ids=ids)
def test_an_example_is_read_and_written_back_as_it_was(example: Example) -> None:
    message = read(Topic.parse(example.topic), orjson.dumps(example.payload))
    assert orjson.loads(write(message)) == example.payload


def test_each_kind_and_each_command_has_a_model_and_an_example() -> None:
    assert set(MODELS) == KINDS
    assert {Topic.parse(e.topic).kind for e in EXAMPLES} == KINDS
    shown = {type(read(Topic.parse(e.topic), orjson.dumps(e.payload))) for e in EXAMPLES}
    assert set(COMMANDS.values()) <= shown


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=200))
@example("telemetry", b"\xff\xfe")
@example("telemetry", b"")
@example("status", b'{"state": "online", "session": "\\ud800"}')
def test_random_bytes_are_a_message_or_a_payload_error(kind: str, payload: bytes) -> None:
    with contextlib.suppress(PayloadError):
        assert isinstance(read(Topic("pi", "pack-1", kind, "battery"), payload), Model)


@given(st.sampled_from(EXAMPLES), st.data())
def test_an_example_with_random_json_in_any_place_is_read_or_refused(example: Example, data: st.DataObject) -> None:
    payload = json.loads(json.dumps(example.payload))
    place = payload
    key: Any = data.draw(st.sampled_from(sorted(place)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(JSON)
    try:
        message = read(Topic.parse(example.topic), json.dumps(payload).encode())
    except PayloadError:
        return
    assert read(Topic.parse(example.topic), write(message)) == message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["mono", "channels.voltage", "channels.cell_voltages.1"])
def test_what_is_no_finite_number_is_refused_by_place(number: str, field: str) -> None:
    payload = json.loads(json.dumps(SAMPLE))
    place, *path = payload, *field.split(".")
    for key in path[:-1]:
        place = place[key]
    place[int(path[-1]) if path[-1].isdigit() else path[-1]] = "@"
    assert refusal(TELEMETRY, json.dumps(payload).replace('"@"', number).encode()).startswith(field)


@pytest.mark.parametrize("seq", [-1, 2**53, 10**400, 1.5, "12x", None, True])
def test_a_seq_that_javascript_could_not_hold_is_refused(seq: Any) -> None:
    assert refusal(TELEMETRY, with_(seq=seq)).startswith("seq: ")


@pytest.mark.parametrize(
    "ts", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-21T08:15:02", "soon"]
)
def test_a_time_that_cannot_be_is_refused(ts: str) -> None:
    assert refusal(TELEMETRY, with_(ts=ts)).startswith("ts: ")


@pytest.mark.parametrize("year", ["1970", "2106"])
def test_a_clock_that_was_never_set_can_be_read(year: str) -> None:
    message = read_as(TELEMETRY, with_(ts=f"{year}-02-07T06:28:15.000Z"), Sample)
    assert format_time(message.ts) == f"{year}-02-07T06:28:15.000Z"


def test_a_time_in_another_zone_is_the_same_time() -> None:
    message = read_as(TELEMETRY, with_(ts="2026-11-21T09:15:02.2509+01:00"), Sample)
    assert orjson.loads(write(message))["ts"] == "2026-11-21T08:15:02.250Z"


@pytest.mark.parametrize("boot", ["9f3c", "9F3C0A517BE2D4C8", "9f3c0a517be2d4c8\n", 12, None])
def test_a_boot_of_another_form_is_refused(boot: Any) -> None:
    assert refusal(TELEMETRY, with_(boot=boot)).startswith("boot: ")


def test_a_missing_field_is_named() -> None:
    assert refusal(TELEMETRY, json.dumps({k: v for k, v in SAMPLE.items() if k != "layout"}).encode()).startswith(
        "layout: Field required"
    )


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused(opening: str) -> None:
    refusal(TELEMETRY, (opening * 20_000).encode())
    refusal(
        Topic("pi", "node", "request", "ingest"), ('{"correlation_id":"1","action":"a","x":' + opening * 9000).encode()
    )


def test_ten_megabytes_are_refused_unread() -> None:
    payload = with_(channels={"voltage": 1.0, "current": 0.0}, quality={}) + b" " * 10_000_000
    assert refusal(TELEMETRY, payload) == f"payload of {len(payload)} bytes, limit {MAX_PAYLOAD}"


@pytest.mark.parametrize("key", ["cell_voltages[7]", "v" * 64])
def test_a_channel_name(key: str) -> None:
    read(TELEMETRY, with_(channels={key: 1.0}))


@pytest.mark.parametrize("key", ["", "Voltage", "a b", "a[x]", "v" * 65, "7up"])
def test_a_wrong_channel_name_is_refused(key: str) -> None:
    assert refusal(TELEMETRY, with_(channels={key: 1.0})).startswith("channels")


@pytest.mark.parametrize("value", ["3.7", True, {}, [[1.0]], ["3.7"]])
def test_a_reading_that_is_no_number_is_refused(value: Any) -> None:
    assert refusal(TELEMETRY, with_(channels={"current": 1, "voltage": value})).startswith("channels.voltage")


def test_unknown_fields_are_ignored_for_a_newer_sender_may_add_some() -> None:
    assert read(TELEMETRY, with_(colour="red")) == read(TELEMETRY, with_())


def test_an_unknown_command_is_refused_with_those_that_exist() -> None:
    reason = refusal(Topic("pi", "pack-1", "command", "alert"), b'{"correlation_id": "1", "action": "explode"}')
    assert "'explode' is none of acknowledge, backfill, confirm" in reason


def test_a_request_keeps_what_only_its_receiver_knows() -> None:
    topic = Topic("pi", "node", "request", "ingest")
    message = read(topic, b'{"correlation_id": "1", "action": "assess", "window": [1, 2]}')
    assert message.model_dump()["window"] == [1, 2]


def test_optional_fields_are_left_out_unless_given() -> None:
    assert orjson.loads(write(Status(state="offline", session="c1"))) == {"state": "offline", "session": "c1"}
    assert orjson.loads(write(Reply(correlation_id="1", status="done", reason=None)))["reason"] is None


def test_times_of_a_journal_range_travel_under_their_json_names() -> None:
    ranges = [JournalRange(boot=new_boot(), first=0, last=1, from_=None)]
    written = orjson.loads(write(Journal(ranges=ranges)))
    assert "from" in written["ranges"][0]
    assert "from_" not in written["ranges"][0]


def test_the_hot_path_writes_what_has_no_value_as_null() -> None:
    fields = {**SAMPLE, "channels": {"voltage": math.nan, "current": math.inf, "soc": 0.5}}
    message = read_as(TELEMETRY, write_fields(fields), Sample)
    assert message.channels == {"voltage": None, "current": None, "soc": 0.5}


def test_a_boot_is_drawn_anew() -> None:
    assert len({new_boot() for _ in range(1000)}) == 1000
