"""When rows are due, and that no reader is outrun."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from services.sensor.pacing import GAP_PERIODS, STALE_S, Pacer, Schedule

times = st.lists(st.floats(-100, 1e6), min_size=1, max_size=50)
speeds = st.floats(0.01, 1e6) | st.just(math.inf)


@given(times, speeds, st.floats(0.01, 60))
def test_rows_are_due_in_order_and_pauses_are_shortened(mono: list[float], speed: float, period_s: float) -> None:
    schedule = Schedule(speed, period_s)
    due = [schedule.due(t, 1000.0) for t in mono]
    assert due[0] == 1000.0
    longest = GAP_PERIODS * period_s / speed
    for i, (earlier, later) in enumerate(itertools.pairwise(due), 1):
        step = (mono[i] - mono[i - 1]) / speed
        assert earlier <= later <= earlier + longest + 1e-9 * later
        if 0 <= step <= longest:
            assert math.isclose(later, earlier + step, abs_tol=1e-6)


def test_an_hour_of_recording_at_100_times_its_speed_takes_36_seconds() -> None:
    schedule = Schedule(100, 1.0)
    due = [schedule.due(float(second), 0.0) for second in range(3601)]
    assert math.isclose(due[-1], 36.0)


steps = st.lists(
    st.tuples(st.sampled_from(["alert", "inference", "cloud"]), st.none() | st.integers(0, 500), st.booleans()),
    max_size=40,
)


@given(steps, st.integers(0, 20))
def test_no_online_reader_is_ever_more_than_the_lead_behind(
    news: list[tuple[str, int | None, bool]], lead: int
) -> None:
    pacer, seq = Pacer(lead), 0
    position: dict[str, int] = {}
    online: dict[str, bool] = {}
    for name, at, is_online in news:
        pacer.heard(name, at, 0.0, online=is_online)
        position[name] = max(position.get(name, -1), -1 if at is None else at)
        online[name] = is_online
        behind = [seq - position[n] for n in position if online[n]]
        while pacer.may_publish(seq, 1.0):
            assert all(seq - position[n] <= lead for n in position if online[n])
            seq += 1
            if seq > 600:
                break
        assert seq > 600 or any(online.values()), behind


def test_without_readers_nothing_is_held_back() -> None:
    assert Pacer().may_publish(10**9, 0.0)


def test_a_reader_that_has_gone_silent_is_not_waited_for() -> None:
    pacer = Pacer(lead=10)
    pacer.heard("alert", 5, now=0.0)
    assert pacer.may_publish(15, now=1.0)
    assert not pacer.may_publish(16, now=1.0)
    assert pacer.may_publish(16, now=STALE_S + 1)


def test_a_reader_that_repeats_an_old_position_does_not_go_back() -> None:
    pacer = Pacer(lead=10)
    pacer.heard("alert", 100, now=0.0)
    pacer.heard("alert", 50, now=0.0)
    pacer.heard("alert", None, now=0.0)
    assert pacer.may_publish(110, now=1.0)
