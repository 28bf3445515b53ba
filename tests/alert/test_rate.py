"""Rate of rise."""

from hypothesis import given
from hypothesis import strategies as st

from services.alert.delay import Delay
from services.alert.rate import Rate
from services.alert.suspect import Trust


def runaway() -> Rate:
    return Rate(1.0, 3.0, 0.5, Delay(3.0, 30.0))


def run(rate: Rate, values: list[float], period_s: float = 1.0, kind: Trust = Trust.GOOD) -> list[bool]:
    return [rate.update(i * period_s, v, kind) for i, v in enumerate(values)]


def test_a_steady_rise_raises_once_it_has_lasted() -> None:
    states = run(runaway(), [25 + 1.2 * i for i in range(12)])
    assert states.index(True) == 6  # 3 s for the window and 3 s of lasting


def test_one_step_is_not_a_rate_that_lasts() -> None:
    assert not any(run(runaway(), [25.0] * 5 + [31.0] * 20))


@given(st.lists(st.floats(20, 22), min_size=5, max_size=80))
def test_noise_of_two_degrees_never_raises(values: list[float]) -> None:
    assert not any(run(runaway(), values))


def test_slow_sampling_takes_the_rise_from_sample_to_sample() -> None:
    assert run(runaway(), [20, 20, 55, 90], period_s=30) == [False, False, True, True]
    assert not any(run(runaway(), [20, 20, 45, 70], period_s=30))


def test_a_run_of_suspect_readings_is_believed() -> None:
    rate = runaway()
    run(rate, [25.0] * 5)
    states = [rate.update(5 + i, 40.0 + 15 * i, Trust.SUSPECT) for i in range(6)]
    assert states[-1]


def test_a_lone_suspect_jump_and_a_dead_probe_are_no_rate() -> None:
    rate = runaway()
    run(rate, [25.0] * 5)
    assert not rate.update(5, 110.0, Trust.SUSPECT)
    assert not any(rate.update(6 + i, None, Trust.MISSING) for i in range(20))


def test_two_readings_of_one_moment_have_no_rate() -> None:
    rate = runaway()
    for t in (0, 1, 2, 3, 3, 3, 4):
        assert not rate.update(t, 25.0 + 10 * (t == 3), Trust.GOOD)
