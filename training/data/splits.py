"""Folds over groups (vehicles, protocols, cells): never over windows, seeded, disjoint."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from training.data.errors import DataError


class Fold(NamedTuple):
    """Names of the groups on each side, sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def folds(groups: Iterable[str], k: int, seed: int, strata: Mapping[str, str | int] | None = None) -> list[Fold]:
    """Deal groups into `k` folds; each group is tested once.

    The same groups give the same folds, whatever their order and how often each is named.

    Args:
        groups: one name a run or window, or a set of names.
        strata: group -> class (label, family); each class is spread evenly over the folds.
    Raises:
        DataError: fewer groups than folds.
    """
    names = sorted(set(groups))
    if k < 2 or len(names) < k:
        raise DataError("splits", "folds", f"{len(names)} groups for {k} folds")
    generator = np.random.default_rng(seed)
    classes = {name: "" if strata is None else str(strata[name]) for name in names}
    dealt: list[str] = []
    for stratum in sorted(set(classes.values())):
        members = [name for name in names if classes[name] == stratum]
        dealt += [members[i] for i in generator.permutation(len(members))]
    parts = [dealt[i::k] for i in range(k)]
    made = [Fold(tuple(sorted(set(names) - set(part))), tuple(sorted(part))) for part in parts]
    for fold in made:
        check_disjoint(fold)
    return made


def inner(fold: Fold, k: int, seed: int, strata: Mapping[str, str | int] | None = None) -> list[Fold]:
    """Folds of a fold's training groups alone: where choices are made. Nothing of `fold.test` is in them."""
    made = folds(fold.train, k, seed, strata)
    for part in made:
        check_disjoint(Fold((*part.train, *part.test), fold.test))
    return made


def check_disjoint(fold: Fold) -> None:
    """Raises DataError when a group is on both sides, or a side is empty."""
    both = sorted(set(fold.train) & set(fold.test))
    if both:
        raise DataError("splits", "disjoint", f"{both[0]} is on both sides")
    if not fold.train or not fold.test:
        raise DataError("splits", "disjoint", "one side is empty")


def check_classes(names: Iterable[str], labels: Mapping[str, Iterable[int]], where: str) -> None:
    """Refuse groups in which only one class occurs: no AUROC can be had from them.

    Args:
        names: the groups of one side of a fold.
        labels: group -> the labels that occur in it; -1 (unknown) is no class.
    Raises:
        DataError: naming the class that is missing.
    """
    groups = list(names)
    found = {label for name in groups for label in labels[name]} - {-1}
    if len(found) < 2:
        only = {0: "healthy", 1: "faulty"}.get(next(iter(found), -1), "unlabelled")
        raise DataError(where, "two classes", f"all is {only} in {', '.join(groups[:6])}")
