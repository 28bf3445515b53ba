"""One finding of the doctor: what was looked at, what was found, how it is repaired."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """Args: repair: what a person does about it, as a command where there is one; empty when all is good."""

    group: str
    name: str
    state: State
    found: str
    repair: str = ""


def good(group: str, name: str, found: str) -> Check:
    return Check(group, name, "good", found)


def warning(group: str, name: str, found: str, repair: str) -> Check:
    return Check(group, name, "warning", found, repair)


def missing(group: str, name: str, found: str, repair: str) -> Check:
    return Check(group, name, "missing", found, repair)
