"""The committed pictures of the display are what the code shows."""

import pytest

from tests.hardware.frames import FOLDER, PICTURES


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_committed_picture_is_the_present_one(name: str) -> None:
    drawn = PICTURES[name]()
    assert (FOLDER / name).read_text(encoding="utf-8") == drawn, "run python -m tests.hardware.frames"
