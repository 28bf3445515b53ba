"""What the first screen says of the replay."""

import pytest

from services.bus.messages import Replay, Status
from services.up.__main__ import which

FIRST, SECOND = "a" * 16, "b" * 16


@pytest.mark.parametrize(
    ("boot", "published", "finished", "words"),
    [
        (FIRST, 0, False, ""),
        (FIRST, 70, False, " from row 70 on"),
        (FIRST, 100, False, ", which was finished earlier,"),  # what it says first
        (FIRST, 100, True, ", which was finished earlier,"),
        (SECOND, 0, False, " again (what it brought earlier is kept)"),
        (SECOND, 70, False, " again (what it brought earlier is kept) from row 70 on"),
    ],
)
def test_a_replay_that_is_not_new_is_called_so(boot: str, published: int, finished: bool, words: str) -> None:
    replay = Replay(file="car.csv", rows=100, published=published, finished=finished)
    assert which(Status(state="online", session="s", boot=boot, replay=replay), FIRST) == words
