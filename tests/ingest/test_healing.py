"""Healing decided: what is asked for, when, and that it converges, whatever is lost on the way."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.bus.ranges import RangeSet
from services.ingest.healing import TIME, WITHHELD_MAX, Budget, Confirmations, Healing
from services.ingest.rows import StreamKey

KEY = StreamKey("pi", "pack-1", "telemetry", "battery", "00000000000000a1")
OTHER_BOOT = KEY._replace(boot="00000000000000b2")


def healing(block: int = 500, rate: float = 1e6) -> Healing:
    return Healing(started=0.0, budget=Budget(rate, block), quiet_s=10.0, block=block, timeout_s=10.0)


def test_a_hole_counts_below_the_highest_live_seq_at_once_and_above_it_after_the_quiet_time() -> None:
    state = healing()
    missing = RangeSet([(3, 5), (11, 20)])
    assert not state.holes(KEY, missing, 1.0)
    state.live(KEY, 10, 1.0)
    assert list(state.holes(KEY, missing, 2.0)) == [(3, 5)]
    assert list(state.holes(KEY, missing, 11.0)) == [(3, 5), (11, 20)]


def test_one_request_a_stream_is_outstanding_and_none_while_the_heartbeat_is_old() -> None:
    state = healing()
    missing = RangeSet([(0, 9)])
    assert not state.ask(KEY, missing, 20.0, fresh=False)
    assert list(state.ask(KEY, missing, 20.0, fresh=True)) == [(0, 9)]
    assert not state.ask(KEY, missing, 21.0, fresh=True)
    assert not state.ask(OTHER_BOOT, missing, 21.0, fresh=True)
    state.answered(KEY, [(0, 9)], 22.0, stored=True)
    assert list(state.ask(OTHER_BOOT, missing, 22.0, fresh=True)) == [(0, 9)]


def test_a_publisher_that_does_not_answer_is_asked_ever_more_seldom() -> None:
    state, now, asked = healing(), 20.0, []
    while now < 2000:
        if state.ask(KEY, RangeSet([(0, 9)]), now, fresh=True):
            asked.append(now)
        now += 1
    pauses = [b - a for a, b in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 13
    assert pauses[-1] > 500


def test_the_rate_holds_whatever_the_number_of_streams() -> None:
    state = healing(block=500, rate=2000)
    keys = [KEY._replace(device=f"d{n}") for n in range(40)]
    total = 0
    for step in range(100):
        now = 20 + step * 0.1
        for key in keys:
            wanted = state.ask(key, RangeSet([(0, 10**6)]), now, fresh=True)
            if wanted:
                total += wanted.count
                state.answered(key, wanted, now, stored=True)
    assert total <= 500 + 2000 * 10


@given(
    missing=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), min_size=1, max_size=8),
    delivered=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    block=st.integers(1, 60),
)
def test_whatever_the_blocks_bring_each_request_is_a_part_of_what_is_missing_and_all_comes_in_the_end(
    missing: list[tuple[int, int]], delivered: list[float], block: int
) -> None:
    state, left, now = healing(block), RangeSet((a, a + n) for a, n in missing), 20.0
    for share in [*delivered, *[1.0] * 400]:
        now += 700  # beyond every pause
        wanted = state.ask(KEY, left, now, fresh=True)
        if not left:
            assert not wanted
            break
        assert wanted
        assert wanted.count <= block
        assert not wanted.difference(left)
        came = wanted.head(int(wanted.count * share))
        state.answered(KEY, came, now, stored=True)
        left = left.difference(came)
    assert not left


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30), st.floats(0, 2)), max_size=40))
def test_each_stored_range_is_confirmed_and_not_more_often_than_allowed(
    steps: list[tuple[int, int, float]],
) -> None:
    state, now, stored, confirmed, times = Confirmations(1.0, 1000), 0.0, RangeSet(), RangeSet(), []
    for first, more, pause in steps:
        now += pause
        state.stored(KEY, [(first, first + more)])
        stored.add(first, first + more)
        for _, ranges in state.due(now):
            confirmed.update(RangeSet(ranges))
            times.append(now)
    for _, ranges in state.due(now + 2):
        confirmed.update(RangeSet(ranges))
    assert confirmed == stored
    assert all(b - a >= 1.0 for a, b in itertools.pairwise(times))


def test_a_thousand_messages_are_confirmed_without_waiting() -> None:
    state = Confirmations(1.0, 1000)
    state.stored(KEY, [(0, 9)])
    assert state.due(0.0)
    state.stored(KEY, [(10, 1008)])
    assert not state.due(0.1)
    state.stored(KEY, [(1009, 1009)])
    assert state.due(0.1) == [(KEY, [(10, 1009)])]


def test_what_waits_for_its_layout_is_not_asked_for_before_it_has_come_and_holds_up_nothing_else() -> None:
    state, missing = healing(), RangeSet([(0, 9)])
    assert list(state.ask(KEY, missing, 20.0, fresh=True)) == [(0, 9)]
    state.withhold(KEY, range(5), "battery abc", 21.0)
    state.answered(KEY, [(5, 6)], 21.0, stored=True)
    assert state.withheld == 5
    assert list(state.ask(KEY, RangeSet([(0, 4), (7, 9)]), 32.0, fresh=True)) == [(7, 9)]
    state.answered(KEY, [(7, 9)], 33.0, stored=True)
    assert not state.ask(KEY, RangeSet([(0, 4)]), 5000.0, fresh=True)
    state.release("battery other")
    assert not state.ask(KEY, RangeSet([(0, 4)]), 5000.0, fresh=True)
    state.release("battery abc")
    assert list(state.ask(KEY, RangeSet([(0, 4)]), 5000.0, fresh=True)) == [(0, 4)]
    assert state.withheld == 0


def test_what_comes_undated_is_asked_for_once_more_when_its_journal_says_that_it_is_dated() -> None:
    state, missing = healing(), RangeSet([(0, 4)])
    assert state.ask(KEY, missing, 20.0, fresh=True)
    assert not state.undated(KEY, range(5), 21.0)
    assert not state.ask(KEY, missing, 5000.0, fresh=True)
    state.release(TIME, [OTHER_BOOT])
    assert not state.ask(KEY, missing, 5000.0, fresh=True)
    state.release(TIME, [KEY])
    assert list(state.ask(KEY, missing, 5000.0, fresh=True)) == [(0, 4)]
    assert list(state.undated(KEY, range(5), 5001.0)) == [(0, 4)]


def test_streams_without_a_layout_take_bounded_memory() -> None:
    state = healing()
    for n in range(WITHHELD_MAX + 10):
        state.withhold(KEY._replace(device=f"d{n}"), range(2), "battery abc", 20.0)
        state.undated(KEY._replace(device=f"e{n}"), range(2), 20.0)
    assert 0 < state.withheld <= 2 * WITHHELD_MAX
