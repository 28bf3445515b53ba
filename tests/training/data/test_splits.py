"""No group is on both sides, whatever the groups; the seed decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.errors import DataError
from training.data.splits import Fold, check_classes, check_disjoint, folds, inner

NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=8, max_size=40, unique=True)


@given(NAMES, st.integers(2, 8), st.integers(0, 100))
def test_each_group_is_tested_once_and_never_trained_on_then(names: list[str], k: int, seed: int) -> None:
    made = folds(names, k, seed)
    assert sorted(name for fold in made for name in fold.test) == sorted(names)
    for fold in made:
        assert not set(fold.train) & set(fold.test)
        assert {*fold.train, *fold.test} == set(names)
        assert len(names) // k <= len(fold.test) <= len(names) // k + 1


@given(NAMES, st.integers(0, 100))
def test_inner_folds_hold_nothing_of_the_outer_test(names: list[str], seed: int) -> None:
    for fold in folds(names, 2, seed):
        for part in inner(fold, 2, seed):
            assert not {*part.train, *part.test} & set(fold.test)


def test_order_and_repetition_do_not_matter_and_the_seed_does() -> None:
    names = [f"car{i}" for i in range(20)]
    assert folds(names, 5, 1) == folds([*reversed(names), "car3"], 5, 1)
    assert folds(names, 5, 1) != folds(names, 5, 2)


def test_each_class_is_spread_over_the_folds() -> None:
    strata = {f"{'bad' if i < 5 else 'good'}{i}": int(i < 5) for i in range(25)}
    for fold in folds(strata, 5, 0, strata):
        assert sum(strata[name] for name in fold.test) == 1


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="3 groups for 5 folds"):
        folds(["a", "b", "c", "a"], 5, 0)


def test_a_group_on_both_sides_is_named() -> None:
    with pytest.raises(DataError, match="b is on both sides"):
        check_disjoint(Fold(("a", "b"), ("b", "c")))


def test_a_fold_with_one_class_is_named() -> None:
    labels = {"a": {0, 1}, "b": {0}, "c": {0, -1}, "d": {1}}
    check_classes(["b", "d"], labels, "f")
    check_classes(["a"], labels, "f")
    with pytest.raises(DataError, match="fold 2: two classes: all is healthy in b, c"):
        check_classes(["b", "c"], labels, "fold 2")
    with pytest.raises(DataError, match="all is faulty in d"):
        check_classes(["d"], labels, "fold 2")
