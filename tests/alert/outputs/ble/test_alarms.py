"""The alarm service's bytes: as documented, and read back by a reader written from the documentation."""

import math
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alert.lcd import Entry
from services.alert.outputs.ble import alarms
from services.alert.ulid import ulid
from services.bus.messages import SEVERITIES
from tests.alert.test_lcd import entry

OCCURRENCE = "01JC9Z3W5T8Q2R7V4X6Y0B1D3F"
HOT = entry(occurrence=OCCURRENCE, revision=0x010203, raised_at=1_795_248_000.0, text="Hottest probe 110.0 degC")
SEEN = entry(occurrence=OCCURRENCE, acknowledged=True, state="acknowledged_active", severity="low")


@given(st.datetimes(datetime(1970, 1, 2), datetime(3000, 1, 1)), st.text())
def test_any_occurrence_survives_its_bytes(time: datetime, part: str) -> None:
    text = ulid(time.replace(tzinfo=UTC), part)
    assert alarms.ulid_text(alarms.ulid_bytes(text)) == text


@pytest.mark.parametrize("text", ["", "01JC", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01jc9z3w5t8q2r7v4x6y0b1d3f", "U" * 26])
def test_what_is_no_ulid_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        alarms.ulid_bytes(text)


def test_a_token_is_what_a_phone_writes_back() -> None:
    token = alarms.token(HOT)
    assert token[16:] == bytes([4, 0x03, 0x02, 0x01])
    assert alarms.read_token(token) == alarms.Token(OCCURRENCE, 4, 0x010203)


@given(st.binary(max_size=24))
def test_any_bytes_are_a_token_or_refused(data: bytes) -> None:
    try:
        token = alarms.read_token(data)
    except ValueError:
        assert len(data) != 20 or not 1 <= data[16] <= 4
    else:
        assert data[16] == token.severity


def test_the_summary_counts() -> None:
    assert alarms.summary([], 7) == bytes([1, 0, 0, 0, 7, 0, 0, 0])
    assert alarms.summary([HOT, SEEN], 2**32 + 1) == bytes([1, 4, 2, 1, 1, 0, 0, 0])


def parse(record: bytes) -> tuple[bytes, int, int, float, float, list[str]]:
    state, raised, value, limit = struct.unpack("<BI2f", record[20:33])
    return record[:20], state, raised, value, limit, record[33:].decode().split("\0")


def test_a_record_holds_what_a_person_wants_to_know() -> None:
    token, state, raised, value, limit, texts = parse(alarms.record(HOT))
    assert token == alarms.token(HOT)
    assert (state, raised, value, limit) == (1, 1_795_248_000, 110.0, 80.0)
    assert texts == ["pack-1", "over_temperature", "temperature_max", "degC", "Hottest probe 110.0 degC", ""]


def test_no_value_is_nan() -> None:
    *_, value, limit, _ = parse(alarms.record(entry(occurrence=OCCURRENCE, value=None, limit=None)))
    assert math.isnan(value)
    assert math.isnan(limit)


def test_the_first_that_waits_for_an_acknowledge_is_told_first() -> None:
    low = entry(occurrence=OCCURRENCE, severity="low")
    assert alarms.first([]) == b""
    assert alarms.first([SEEN]) == alarms.record(SEEN)
    assert alarms.first([SEEN, low]) == alarms.record(low)


@given(st.lists(st.sampled_from([HOT, SEEN, entry(occurrence=OCCURRENCE, text="x" * 300)]), max_size=9))
def test_a_list_holds_whole_records_and_fits_an_attribute(entries: list[Entry]) -> None:
    data = alarms.listing(entries)
    assert len(data) <= 512
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<H", data, at)
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    assert found == [alarms.record(e) for e in entries][: len(found)]


@given(*[st.none() | st.floats(-1e9, 1e9)] * 4)
def test_electrical_readings_are_exact_to_a_millivolt_or_at_their_end(
    voltage: float | None, current: float | None, highest: float | None, lowest: float | None
) -> None:
    v, a, high, low = struct.unpack("<iiHH", alarms.electrical(voltage, current, highest, lowest))
    for raw, value in ((v, voltage), (a, current)):
        assert raw == (-(2**31) if value is None else min(max(round(value * 1000), 1 - 2**31), 2**31 - 1))
    for raw, value in ((high, highest), (low, lowest)):
        assert raw == (0xFFFF if value is None else min(max(round(value * 1000), 0), 0xFFFE))


def test_severities_are_counted_from_one() -> None:
    assert [alarms.token(entry(occurrence=OCCURRENCE, severity=s))[16] for s in SEVERITIES] == [1, 2, 3, 4]
