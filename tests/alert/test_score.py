"""k of n windows."""

from hypothesis import given
from hypothesis import strategies as st

from services.alert.score import KofN


def run(rule: KofN, beyond: list[bool]) -> list[bool]:
    return [rule.update(b) for b in beyond]


@given(st.lists(st.booleans(), max_size=60))
def test_active_exactly_from_k_of_n_until_clear(beyond: list[bool]) -> None:
    expected, active = [], False
    for i in range(len(beyond)):
        count = sum(beyond[max(0, i - 4) : i + 1])
        active = count >= 3 or (active and count > 1)
        expected.append(active)
    assert run(KofN(3, 5, 1), beyond) == expected


def test_single_windows_do_not_raise() -> None:
    assert not any(run(KofN(3, 5), [True, False, False, True, False] * 6))


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40))
def test_restored_in_between_goes_on_the_same(beyond: list[bool], cut: int) -> None:
    whole = run(KofN(3, 5, 1), beyond)
    first, second = KofN(3, 5, 1), KofN(3, 5, 1)
    states = run(first, beyond[:cut])
    second.restore(first.to_list())
    assert states + run(second, beyond[cut:]) == whole
