"""What is kept comes back as it was."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.bus.packing import pack, unpack


@given(st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False)) | st.text()))
def test_any_message_comes_back(message: dict[str, object]) -> None:
    payload = orjson.dumps(message)
    assert unpack(pack(payload)) == payload


def test_a_sample_of_many_cells_shrinks() -> None:
    payload = orjson.dumps({"cell_voltages": [3.7 + (i * 37 % 23) / 1000 for i in range(96)]})
    assert len(pack(payload)) < len(payload) / 2
