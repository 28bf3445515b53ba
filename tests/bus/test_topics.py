"""Topics: a round trip for every valid name, a refusal for everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.errors import PayloadError
from services.bus.topics import KINDS, MAX_NAME, RETAINED_KINDS, STREAM_KINDS, Topic, check_name, topic_filter

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True, alphabet=st.characters(codec="ascii"))
TOPICS = st.builds(Topic, NAMES, NAMES, st.sampled_from(sorted(KINDS)), NAMES)


@given(TOPICS)
def test_a_topic_is_read_as_it_was_written(topic: Topic) -> None:
    assert Topic.parse(str(topic)) == topic


@given(st.builds(Topic, NAMES, NAMES, st.sampled_from(STREAM_KINDS), st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True)))
def test_journal_and_backfill_topics_name_their_stream(topic: Topic) -> None:
    for kind in ("journal", "backfill"):
        assert topic.of_stream(kind).stream_topic() == topic


@given(NAMES, st.sampled_from("/+#$ \t\n\0ABCäß中٣²"), st.data())
def test_a_name_with_a_character_of_mqtt_or_of_another_alphabet_is_refused(
    name: str, character: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(name)))
    with pytest.raises(ValueError, match="node"):
        check_name("node", name[:at] + character + name[at:])


@pytest.mark.parametrize("name", ["", "-a", "_a", ".", "..", "$sys", "a\n", "a" * (MAX_NAME + 1), "\u0301a", "\ud800"])
def test_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        Topic("pi", name, "telemetry", "battery")


def test_the_longest_name_is_accepted() -> None:
    assert check_name("node", "a" * MAX_NAME) == "a" * MAX_NAME


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'telemetri' is none of"):
        Topic("pi", "pack-1", "telemetri", "battery")


@given(st.text() | st.lists(st.text(), min_size=4, max_size=4).map(lambda p: "/".join(["emberwatch/v1", *p])))
def test_any_text_is_a_topic_or_a_payload_error(text: str) -> None:
    try:
        found = str(Topic.parse(text))
    except PayloadError as error:
        found = error.topic
        text = text[:200]
    assert found == text


@pytest.mark.parametrize(
    "text", ["emberwatch/v2/a/b/status/c", "emberwatch/v1/a/b/status", "emberwatch/v1/a/b/status/c/d"]
)
def test_a_topic_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(PayloadError, match="not of the form"):
        Topic.parse(text)


@pytest.mark.parametrize("name", ["battery", "alarm.cell_spread", "telemetry"])
def test_a_journal_topic_that_names_no_stream_is_refused(name: str) -> None:
    with pytest.raises(PayloadError, match="names no stream"):
        Topic("pi", "pack-1", "journal", name).stream_topic()


def test_a_filter_leaves_open_what_is_left_out() -> None:
    assert topic_filter("pi", kind="score") == "emberwatch/v1/pi/+/score/+"


def test_streams_are_not_retained() -> None:
    assert not RETAINED_KINDS & set(STREAM_KINDS)
