"""A probe that does not move is stuck only where it must move."""

from services.sensor.pi.stuck import Stuck


def test_a_probe_at_rest_repeats_itself_for_hours() -> None:
    stuck = Stuck(("a", "b"))
    assert not any(stuck.take(21.5, {"a": 21.4 + 0.0625 * (n % 9), "b": 21.0}) for n in range(20_000))


def test_one_that_stays_while_those_beside_it_warm_is_stuck_until_it_moves() -> None:
    stuck = Stuck(("a", "b", "c"))
    found = [stuck.take(21.5, {"a": 21 + 0.1 * n, "b": 21 + 0.1 * n, "c": 85.0}) for n in range(60)]
    assert found.index(True) in (50, 51)
    assert all(found[51:])
    assert stuck.take(21.5625, {"a": 27.0, "b": 27.0}) is False


def test_one_beside_it_that_errs_alone_makes_nothing_stuck() -> None:
    stuck = Stuck(("a", "b", "c"))
    assert not any(stuck.take(21.5, {"a": 21.0, "b": 20.0 + n, "c": 21.2}) for n in range(60))


def test_without_others_that_say_something_nothing_is_concluded() -> None:
    assert not any(Stuck(()).take(21.5, {"a": float(n)}) for n in range(60))
    assert not any(Stuck(("a",)).take(21.5, {}) for n in range(60))
