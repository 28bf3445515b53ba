"""Blocks of past messages: what went in comes out, and each fits into a publication."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.backfill import blocks, from_backfill, to_backfill
from services.bus.messages import MAX_PAYLOAD, MODELS, Backfill, read, read_as
from services.bus.topics import Topic

BOOT = "9f3c0a517be2d4c8"
STREAM = Topic("pi", "pack-1", "telemetry", "battery")
VALUE = st.none() | st.floats(-1e6, 1e6)


def sample(seq: int, **changes: Any) -> dict[str, Any]:
    return {
        "boot": BOOT,
        "seq": seq,
        "ts": f"2026-11-21T08:{seq // 60 % 60:02d}:{seq % 60:02d}.000Z",
        "mono": float(seq),
        "time_source": "ntp",
        "layout": "b1c4e07d",
        "channels": {"voltage": 3.7},
        **changes,
    }


SAMPLES = st.lists(
    st.builds(
        lambda channels, layout, source, quality, period: {
            "channels": channels,
            "layout": layout,
            "time_source": source,
            **({"quality": quality} if quality else {}),
            **({"period_s": period} if period else {}),
        },
        st.dictionaries(st.sampled_from(["voltage", "current", "soc"]), VALUE),
        st.sampled_from(["b1c4e07d", "00000000"]),
        st.sampled_from(["ntp", "none"]),
        st.dictionaries(st.sampled_from(["voltage", "cells[3]"]), st.sampled_from(["suspect", "fault:crc"])),
        st.sampled_from([None, None, 0.005]),
    ),
    max_size=30,
).map(lambda changes: [sample(n, **c) for n, c in enumerate(changes)])


def travel(kind: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Through blocks and the wire, and back as parsed messages."""
    found = [(m["seq"], orjson.dumps(m), m) for m in messages]
    result = []
    topic = Topic("pi", "pack-1", kind, "battery").of_stream("backfill")
    for block in blocks(kind, found):
        payload = orjson.dumps(to_backfill(kind, BOOT, block, []))
        assert len(payload) <= MAX_PAYLOAD
        result += from_backfill(read_as(topic, payload, Backfill))
    return result


@given(SAMPLES)
def test_telemetry_comes_out_as_it_went_in(samples: list[dict[str, Any]]) -> None:
    model = MODELS["telemetry"]
    names = {n: set(s["channels"]) for n, s in enumerate(samples)}
    found = [model.model_validate(fields).model_dump() for fields in travel("telemetry", samples)]
    for n, message in enumerate(found):  # a column has a place for each sample: absent becomes "no reading"
        message["channels"] = {k: v for k, v in message["channels"].items() if k in names[n]}
    assert found == [read(STREAM, orjson.dumps(s)).model_dump() for s in samples]


@given(st.lists(st.integers(1, 20_000), max_size=12))
def test_other_streams_come_out_whole_and_blocks_fit_whatever_their_size(sizes: list[int]) -> None:
    messages = [{"boot": BOOT, "seq": n, "text": "x" * size} for n, size in enumerate(sizes)]
    assert travel("event", messages) == messages


def test_many_samples_take_few_blocks() -> None:
    found = [(n, orjson.dumps(sample(n)), sample(n)) for n in range(500)]
    assert len(list(blocks("telemetry", found))) == 2


def test_an_answer_may_say_only_what_is_missing() -> None:
    message = Backfill.model_validate(to_backfill("telemetry", BOOT, [], [(3, 9)]))
    assert (from_backfill(message), message.missing) == ([], [(3, 9)])


@pytest.mark.parametrize(
    "change", [{"ts": []}, {"mono": [1.0, 2.0]}, {"channels": {"voltage": [1.0, 2.0]}}, {"messages": [{}, {}]}]
)
def test_ragged_columns_are_refused(change: dict[str, Any]) -> None:
    good = to_backfill("telemetry", BOOT, [(0, sample(0))], [])
    with pytest.raises(ValueError, match=r"length|messages for"):
        from_backfill(Backfill.model_validate(good | change))
