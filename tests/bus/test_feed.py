"""The feed: any loss, repetition and disorder, with a publisher that answers: delivered exactly once, in order."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bus.feed import ASK_AGAIN_S, ASK_AT_ONCE, FIRST_CONTACT, Delivery, Feed, Request
from services.bus.messages import Journal, JournalRange, LostRange, StreamMessage
from services.bus.topics import Topic

STREAM = Topic("pi", "pack-1", "telemetry", "battery")
OTHER = Topic("pi", "pack-2", "telemetry", "battery")
BOOTS = ["a" * 16, "b" * 16, "c" * 16]
A, B, C = BOOTS
PATIENCE_S = 3.0


def message(boot: str, seq: int) -> StreamMessage:
    return StreamMessage(boot=boot, seq=seq, ts=datetime(2026, 1, 1, tzinfo=UTC), mono=float(seq))


def journal(*ranges: tuple[str, int, int, bool], lost: tuple[tuple[str, int, int], ...] = ()) -> Journal:
    return Journal(
        ranges=[JournalRange(boot=b, first=f, last=to, closed=closed) for b, f, to, closed in ranges],
        lost=[LostRange(boot=b, first=f, last=to) for b, f, to in lost],
    )


def seen(deliveries: list[Delivery]) -> list[tuple[str, int]]:
    return [(d.message.boot, d.message.seq) for d in deliveries]


def receive(feed: Feed, boot: str, *seqs: int, now: float = 0.0, backfilled: bool = False) -> list[tuple[str, int]]:
    return [
        identity
        for seq in seqs
        for identity in seen(feed.receive(STREAM, message(boot, seq), now, backfilled=backfilled))
    ]


class World:
    """A publisher with several process starts, a broker that loses, repeats and reorders, and a feed."""

    def __init__(self, counts: list[int], absent: set[tuple[str, int]]) -> None:
        self.counts = dict(zip(BOOTS, counts, strict=False))
        self.absent = absent  # gone from the journal, too
        self.feed = Feed(PATIENCE_S)
        self.published = dict.fromkeys(self.counts, 0)
        self.now = 0.0
        self.delivered: list[Delivery] = []
        self.requests: list[Request] = []

    @property
    def running(self) -> str:
        """The process start that publishes now; one begins when the one before has published all."""
        return next((b for b, n in self.counts.items() if self.published[b] < n), list(self.counts)[-1])

    def publish(self) -> tuple[str, int] | None:
        boot = self.running
        if self.published[boot] == self.counts[boot]:
            return None
        self.published[boot] += 1
        return boot, self.published[boot] - 1

    def live(self, boot: str, seq: int) -> None:
        self.delivered += self.feed.receive(STREAM, message(boot, seq), self.now)

    def announce(self) -> None:
        held = [(b, 0, n - 1, b != self.running) for b, n in self.published.items() if n]
        self.delivered += self.feed.announce(STREAM, journal(*held))

    def tick(self) -> None:
        deliveries, requests = self.feed.due(self.now)
        self.delivered += deliveries
        self.requests += requests

    def answer(self) -> None:
        for _, boot, ranges in self.requests:
            missing = []
            for seq in (n for first, last in ranges for n in range(first, last + 1)):
                assert seq < self.published[boot], "asked for what does not exist"
                if (boot, seq) in self.absent:
                    missing.append((seq, seq))
                else:
                    self.delivered += self.feed.receive(STREAM, message(boot, seq), self.now, backfilled=True)
            self.delivered += self.feed.missing(STREAM, boot, missing, self.now)
        self.requests = []

    def settle(self) -> None:
        for _ in range(3 + sum(self.counts.values())):
            self.announce()
            self.tick()
            self.answer()
            self.now += ASK_AGAIN_S / 2 if self.feed.waiting else 0.01


IDENTITIES = st.tuples(st.sampled_from(BOOTS), st.integers(0, 8))
FATE = st.sampled_from(["arrives", "arrives", "arrives", "lost", "twice", "later"])
BETWEEN = st.sampled_from(["nothing", "nothing", "tick", "answer", "announce", "stray"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=3), st.lists(st.tuples(FATE, BETWEEN), max_size=40), st.data())
def test_exactly_once_and_in_order_whatever_the_broker_does(
    counts: list[int], fates: list[tuple[str, str]], data: st.DataObject
) -> None:
    """The broker lets something of the first process start through first; the rest is up to chance."""
    world = World(counts, set())
    later: list[tuple[str, int]] = []
    first = world.publish()
    assert first is not None
    world.live(*first)
    for fate, between in fates:
        identity = world.publish()
        if identity is not None:
            for _ in range({"lost": 0, "later": 0, "twice": 2}.get(fate, 1)):
                world.live(*identity)
            if fate == "later":
                later.append(identity)
        if later and fate == "arrives":
            world.live(*later.pop(data.draw(st.integers(0, len(later) - 1))))
        if between == "stray":  # an answer to another reader's question, about anything that exists
            boot, seq = data.draw(IDENTITIES)
            if seq < world.published.get(boot, 0):
                world.delivered += world.feed.receive(STREAM, message(boot, seq), world.now, backfilled=True)
        elif between != "nothing":
            getattr(world, between)()
    while (identity := world.publish()) is not None:
        later.append(identity)
    for identity in later:
        world.live(*identity)
    world.settle()
    expected = [(b, n) for b, count in zip(BOOTS, counts, strict=False) for n in range(count)]
    assert seen(world.delivered) == expected
    assert not any(d.late for d in world.delivered)
    assert world.feed.waiting == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.sets(IDENTITIES, max_size=8),
    st.lists(st.tuples(st.sampled_from(["publish", "lost", "tick", "answer", "announce", "again"]), st.floats(0, 4))),
    st.data(),
)
def test_with_losses_for_ever_and_impatience_never_twice_and_never_backwards(
    counts: list[int], absent: set[tuple[str, int]], steps: list[tuple[str, float]], data: st.DataObject
) -> None:
    world = World(counts, absent)
    arrived: list[tuple[str, int]] = []
    for step, passed in steps:
        world.now += passed
        if step in ("publish", "lost") and (identity := world.publish()) is not None:
            if step == "publish":
                arrived.append(identity)
                world.live(*identity)
        elif step == "again" and arrived:  # redelivered, however old
            boot, seq = data.draw(st.sampled_from(arrived))
            world.live(boot, seq)
        elif step in ("tick", "answer", "announce"):
            getattr(world, step)()
    world.settle()
    everything = seen(world.delivered)
    assert len(set(everything)) == len(everything)
    in_time = [(d.message.boot, d.message.seq) for d in world.delivered if not d.late]
    assert in_time == sorted(in_time, key=lambda i: (BOOTS.index(i[0]), i[1]))
    assert world.feed.waiting == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=3), st.data())
def test_after_a_restart_exactly_what_follows_the_kept_positions_is_delivered(
    counts: list[int], data: st.DataObject
) -> None:
    """Killed anywhere; the broker delivers again whatever was not acknowledged, the rest comes out of the journal."""
    world = World(counts, set())
    history: list[tuple[str, int]] = []
    kill_at = data.draw(st.integers(1, sum(counts)))
    kept = kept_at = None
    for n in range(sum(counts)):
        identity = world.publish()
        assert identity is not None
        history.append(identity)
        world.live(*identity)
        world.announce()
        if n + 1 == kill_at:
            kept, kept_at = world.feed.cursors(), len(world.delivered)
    assert kept is not None
    assert kept_at is not None
    world.feed = Feed(PATIENCE_S)
    world.feed.restore(kept)
    before, world.delivered = world.delivered[:kept_at], []
    for identity in history[data.draw(st.integers(0, len(history))) :]:
        world.live(*identity)
    world.settle()
    assert seen(before) + seen(world.delivered) == [i for i in history if i in seen(before) + seen(world.delivered)]
    if world.delivered or kept_at == len(history):
        assert seen(before) + seen(world.delivered) == history


def test_messages_of_a_new_start_wait_until_the_old_one_is_known_to_be_complete() -> None:
    feed = Feed(PATIENCE_S)
    assert receive(feed, A, 0) == [(A, 0)]
    assert receive(feed, B, 0) == []
    assert seen(feed.announce(STREAM, journal((A, 0, 1, True)))) == []  # what lies between is not known yet
    assert seen(feed.announce(STREAM, journal((A, 0, 1, True), (B, 0, 0, False)))) == []
    assert feed.due(0.1) == ([], [(STREAM, A, [(1, 1)])])
    assert receive(feed, A, 1, backfilled=True) == [(A, 1), (B, 0)]


def test_a_new_start_waits_no_longer_than_patience_for_a_publisher_that_says_nothing() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, B, 0)
    assert feed.due(10.0) == ([], [])
    assert seen(feed.due(10.0 + PATIENCE_S)[0]) == [(B, 0)]
    assert receive(feed, A, 1, now=14.0) == [(A, 1)]  # nobody had said that it was over
    assert receive(feed, A, 1, now=14.0) == []


def test_a_start_of_which_nothing_is_left_holds_nobody_up() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, B, 0)
    assert seen(feed.announce(STREAM, journal((B, 0, 0, False)))) == [(B, 0)]


def test_a_start_that_never_reached_us_is_read_in_its_place() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, C, 0)
    assert feed.announce(STREAM, journal((A, 0, 0, True), (B, 0, 1, True), (C, 0, 0, False))) == []
    assert feed.due(0.0)[1] == [(STREAM, B, [(0, 1)])]
    assert receive(feed, B, 0, 1, backfilled=True) == [(B, 0), (B, 1), (C, 0)]


def test_a_block_of_a_start_that_we_do_not_read_is_somebody_elses() -> None:
    feed = Feed(PATIENCE_S)
    assert receive(feed, A, 0, 1, backfilled=True) == []
    receive(feed, B, 0)
    assert receive(feed, A, 0, 1, backfilled=True) == []
    assert receive(feed, B, 1) == [(B, 1)]


def test_patience_is_for_a_gap_and_what_turns_up_later_is_late_once() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    assert receive(feed, A, 2, 5) == []
    assert seen(feed.due(1.0)[0]) == []
    assert seen(feed.due(1.0 + PATIENCE_S)[0]) == [(A, 2)]
    assert feed.skipped == 1
    assert [d.late for d in feed.receive(STREAM, message(A, 1), 5.0)] == [True]
    assert feed.receive(STREAM, message(A, 1), 5.0) == []
    assert seen(feed.due(5.0)[0]) == []  # the second gap has a patience of its own
    assert seen(feed.due(5.0 + PATIENCE_S)[0]) == [(A, 5)]
    assert (feed.late, feed.skipped, feed.duplicates) == (1, 3, 1)


def test_a_gap_that_is_being_filled_is_waited_for() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, A, 10)
    for seq in range(1, 10):
        now = seq * PATIENCE_S * 0.9
        assert feed.due(now)[0] == []
        receive(feed, A, seq, now=now, backfilled=True)
    assert feed.position(STREAM) == (A, 10)
    assert feed.skipped == 0


def test_a_long_gap_is_asked_for_in_parts_and_no_part_twice_while_it_comes() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, A, 1501)
    assert feed.due(0.0)[1] == [(STREAM, A, [(1, ASK_AT_ONCE)])]
    receive(feed, A, *range(1, 200), now=0.5, backfilled=True)
    assert feed.due(0.5)[1] == []
    receive(feed, A, *range(200, ASK_AT_ONCE + 1), now=1.0, backfilled=True)
    assert feed.due(1.0)[1] == [(STREAM, A, [(1001, 1500)])]
    assert feed.due(1.0 + ASK_AGAIN_S / 2)[1] == []
    assert feed.due(1.0 + ASK_AGAIN_S)[1] == [(STREAM, A, [(1001, 1500)])]


def test_what_the_publisher_has_lost_is_not_waited_for() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, A, 3, 6)
    assert seen(feed.missing(STREAM, A, [(1, 2), (5, 5)], 0.0)) == [(A, 3)]
    assert seen(feed.announce(STREAM, journal((A, 6, 6, False), lost=((A, 4, 4),)))) == [(A, 6)]
    assert feed.skipped == 4


def test_an_absurd_answer_costs_nothing() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    assert feed.missing(STREAM, A, [(0, 2**53 - 1)], 0.0) == []
    assert receive(feed, A, 1, 2) == [(A, 1), (A, 2)]


@pytest.mark.parametrize(("seq", "delivered"), [(FIRST_CONTACT, []), (FIRST_CONTACT + 1, [(A, FIRST_CONTACT + 1)])])
def test_a_stream_met_early_is_wanted_from_its_start_and_one_met_late_from_there(
    seq: int, delivered: list[tuple[str, int]]
) -> None:
    assert receive(Feed(PATIENCE_S), A, seq) == delivered


def test_streams_do_not_wait_for_each_other() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, A, 2)
    assert [d.message.seq for d in feed.receive(OTHER, message(A, 0), 0.0)] == [0]
    assert feed.cursors() == {str(STREAM): [A, 1], str(OTHER): [A, 1]}


def test_positions_keep_what_was_skipped_and_which_starts_are_past() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, 0)
    receive(feed, A, 2)
    feed.due(0.0)
    feed.due(PATIENCE_S)
    feed.announce(STREAM, journal((A, 0, 2, True), (B, 0, 0, False)))
    receive(feed, B, 0)
    again = Feed(PATIENCE_S)
    again.restore(feed.cursors())
    assert receive(again, A, 0, 2) == []
    assert again.duplicates == 2
    assert [d.late for d in again.receive(STREAM, message(A, 1), 0.0)] == [True]
    assert receive(again, B, 1) == [(B, 1)]


def test_positions_of_boot_and_seq_alone_are_enough() -> None:
    feed = Feed(PATIENCE_S)
    feed.restore({str(STREAM): [A, 5]})
    assert receive(feed, A, 4, 5) == [(A, 5)]
    assert feed.position(STREAM) == (A, 5)
    assert feed.position(OTHER) is None


def test_one_stray_message_of_a_foreign_start_does_not_silence_the_running_one() -> None:
    feed = Feed(PATIENCE_S)
    assert receive(feed, A, *range(10), now=0.0) == [(A, s) for s in range(10)]
    assert receive(feed, B, 0, now=1.0) == []
    feed.due(1.0)
    assert seen(feed.due(1.0 + PATIENCE_S)[0]) == [(B, 0)]
    assert receive(feed, A, 10, 11, now=10.0) == [(A, 10), (A, 11)]
    assert (feed.late, feed.skipped) == (0, 0)
    assert receive(feed, B, 1, now=11.0) == [(B, 1)]  # two senders under one name: both are heard
    assert receive(feed, A, 12, now=12.0) == [(A, 12)]


def test_a_running_start_is_heard_after_a_stray_message_and_a_restart_of_ours() -> None:
    feed = Feed(PATIENCE_S)
    receive(feed, A, *range(10), now=0.0)
    receive(feed, B, 0, now=1.0)
    feed.due(1.0)
    feed.due(1.0 + PATIENCE_S)
    after = Feed(PATIENCE_S)
    after.restore(feed.cursors())
    assert receive(after, A, 10, now=10.0) == [(A, 10)]
