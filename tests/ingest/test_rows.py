"""Foreign bytes: whatever a block or a layout says, it becomes rows or a named refusal."""

import contextlib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.errors import PayloadError
from services.bus.messages import Backfill
from services.bus.topics import Topic
from services.ingest.rows import StoredLayout, backfill_entries
from services.ingest.views import view_name, view_sql
from tests.ingest.conftest import BOOT, TOPIC, battery_layout, payload, sample

LAYOUT = StoredLayout(1, battery_layout())
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2150, 1, 1)).map(lambda time: time.isoformat() + "Z")
NUMBER = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.floats(0, 5), max_size=4))


def block(**fields: Any) -> Backfill:
    return Backfill.model_validate({"boot": BOOT} | fields)


@given(
    seq=st.lists(st.integers(0, 2**53 - 1), max_size=5, unique=True),
    times=st.lists(
        st.datetimes(datetime(1970, 1, 1), datetime(2150, 1, 1)).map(lambda t: t.isoformat() + "Z"), max_size=5
    ),
    channels=st.dictionaries(
        st.sampled_from(["voltage", "current", "cell_voltages", "pressure"]), st.lists(NUMBER, max_size=5)
    ),
    messages=st.lists(st.dictionaries(st.sampled_from(["seq", "ts", "channels"]), NUMBER), max_size=5),
    kind=st.sampled_from(["telemetry", "score"]),
)
def test_each_message_of_a_block_is_stored_or_set_aside_or_the_block_is_refused(
    seq: list[int], times: list[str], channels: dict[str, Any], messages: list[dict[str, Any]], kind: str
) -> None:
    with contextlib.suppress(PayloadError):
        content = block(seq=seq, ts=times, channels=channels, messages=messages)
        topic = Topic("pi", "pack-1", kind, "battery")
        good, bad = backfill_entries(topic, b"", content, LAYOUT if kind == "telemetry" else None)
        assert sorted([*good.seqs, *(s for entry in bad for s in entry.seqs)]) == sorted(seq)
        assert all(entry.reason for entry in bad)
        assert len(good.rows) == len(good.seqs)


def test_a_block_of_columns_gives_the_rows_that_the_live_samples_gave() -> None:
    live = [sample(seq) for seq in (4, 7)]
    columns = {name: [s["channels"][name] for s in live] for name in live[0]["channels"]}
    quality = {"1": {"voltage": "suspect"}}
    content = block(seq=[4, 7], ts=[s["ts"] for s in live], channels=columns, quality=quality)
    good, bad = backfill_entries(TOPIC, b"", content, LAYOUT)
    whole = block(seq=[4, 7], messages=[live[0], live[1] | {"quality": quality["1"]}])
    assert backfill_entries(TOPIC, b"", whole, LAYOUT) == (good, bad)
    assert (good.seqs, bad) == ([4, 7], [])
    assert good.rows[1][3] == [362.2, -4.5, 3.701, 3.712, None]
    assert good.rows[1][4] == '{"voltage":"suspect"}'


def test_one_message_that_does_not_fit_is_set_aside_alone() -> None:
    columns = {"voltage": [1.0, [2.0]], "current": [0.0, 0.0]}
    content = block(seq=[0, 1], ts=[sample(0)["ts"]] * 2, channels=columns)
    good, bad = backfill_entries(TOPIC, b"", content, LAYOUT)
    assert (good.seqs, [entry.seqs for entry in bad]) == ([0], [[1]])
    assert "voltage: a list, the layout says scalar" in str(bad[0].reason)


def test_ragged_columns_refuse_the_block() -> None:
    content = block(seq=[0, 1], ts=[sample(0)["ts"]], channels={"voltage": [1.0, 2.0]})
    with pytest.raises(PayloadError, match="ts: 1 values for 2 seqs"):
        backfill_entries(TOPIC, payload({}), content, LAYOUT)


def test_a_view_reads_each_channel_from_its_place_in_each_layout() -> None:
    layouts = [(1, battery_layout(3).channels), (2, battery_layout(3).channels[1:])]
    sql = view_sql("battery", layouts, ["voltage", "cell_voltages", "gone"])
    assert 'CASE s.layout WHEN 1 THEN s.channels[1] END AS "voltage"' in sql
    assert 'WHEN 1 THEN s.channels[3:5] WHEN 2 THEN s.channels[2:4] END AS "cell_voltages"' in sql
    assert 'NULL::real AS "gone"' in sql
    assert view_name("my-profile.2") == "my_profile_2_sample"
