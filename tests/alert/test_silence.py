"""Silence by the receiver's clock."""

from services.alert.silence import Silence


def test_silent_after_the_limit_and_heard_again() -> None:
    s = Silence(30.0, 30.0, started=0.0)
    s.heard(10.0, "c1")
    assert [s.update(t) for t in (11.0, 40.0, 40.1)] == [False, False, True]
    s.heard(41.0, "c1")
    assert s.update(41.0) is False


def test_the_will_of_the_current_session_counts_at_once() -> None:
    s = Silence(30.0, 30.0, started=0.0)
    s.heard(10.0, "c1")
    assert s.will("c1")
    assert s.update(10.1) is True


def test_the_will_of_another_session_is_stale() -> None:
    s = Silence(30.0, 30.0, started=0.0)
    s.heard(10.0, "c2")
    assert not s.will("c1")
    assert s.update(10.1) is False


def test_at_start_a_kept_offline_message_waits_for_the_others_to_start() -> None:
    s = Silence(30.0, 30.0, started=0.0)
    assert s.will("c0")
    assert s.update(29.0) is None
    s.heard(29.5, "c1")
    assert s.update(31.0) is False


def test_one_that_never_came_is_silent_after_the_start_delay() -> None:
    s = Silence(5.0, 30.0, started=0.0)
    assert [s.update(t) for t in (6.0, 30.0, 30.1)] == [None, None, True]


def test_our_own_absence_says_nothing_about_others() -> None:
    s = Silence(5.0, 30.0, started=0.0)
    s.heard(1.0)
    s.resume(100.0)
    assert [s.update(t) for t in (100.0, 105.0, 105.1)] == [False, False, True]
