"""What is kept comes back as it was."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bus.packing import pack, pack_block, unpack, unpack_block

MESSAGES = [(1e9 + n, b"%d " % n + b"payload" * n) for n in range(3)]
BLOCK = pack_block(MESSAGES)
INDEX = st.integers(0, len(BLOCK) - 1)


@given(st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False)) | st.text()))
def test_any_message_comes_back(message: dict[str, object]) -> None:
    payload = orjson.dumps(message)
    assert unpack(pack(payload)) == payload


def test_a_sample_of_many_cells_shrinks() -> None:
    payload = orjson.dumps({"cell_voltages": [3.7 + (i * 37 % 23) / 1000 for i in range(96)]})
    assert len(pack(payload)) < len(payload) / 2


@given(st.lists(st.tuples(st.floats(0, 4e9), st.text(max_size=400).map(orjson.dumps)), min_size=1, max_size=20))
def test_any_block_comes_back(messages: list[tuple[float, bytes]]) -> None:
    kept = pack_block([(ts, pack(payload)) for ts, payload in messages])
    back = unpack_block(kept, len(messages), messages[0][0])
    assert [(ts, unpack(payload)) for ts, payload in back] == messages


def changed(index: int, byte: int) -> bytes:
    return BLOCK[:index] + bytes([byte]) + BLOCK[index + 1 :]


@given(st.binary(max_size=60) | st.builds(changed, INDEX, st.integers(0, 255)))
def test_a_damaged_block_is_a_value_error_or_as_it_was(kept: bytes) -> None:
    try:
        found = unpack_block(kept, 3, 0.0)
    except ValueError:
        return
    assert found == MESSAGES


@pytest.mark.parametrize("count", [2, 4, 1000])
def test_a_block_of_another_number_of_messages_is_a_value_error(count: int) -> None:
    with pytest.raises(ValueError, match=r"expected|buffer"):
        unpack_block(BLOCK, count, 0.0)


def test_samples_in_a_block_shrink_to_a_fraction_of_what_each_would_take() -> None:
    cells = [[3.7 + (i * 37 % 23 + (i * n) % 2) / 1000 for i in range(96)] for n in range(30)]
    samples = [(1e9 + n, orjson.dumps({"ts": n, "cell_voltages": row})) for n, row in enumerate(cells)]
    assert len(pack_block(samples)) < sum(len(pack(payload)) for _, payload in samples) / 3
