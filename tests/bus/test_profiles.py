"""Profiles and layouts."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.bus.errors import ConfigError
from services.bus.messages import Value, Values
from services.bus.profiles import Profile, flatten, load_profile, slots, width
from services.bus.settings import ROOT

PROFILE = Profile.model_validate(
    {
        "name": "test",
        "version": 1,
        "title": "Test",
        "period_s": 1,
        "channels": [
            {"name": "voltage", "title": "V", "unit": "V", "low": 0, "high": 10},
            {"name": "current", "title": "I", "unit": "A", "low": -5, "high": 5},
            {"name": "cells", "title": "C", "unit": "V", "low": 0, "high": 5, "kind": "vector"},
        ],
    }
)
VALUES = st.none() | st.floats(-10, 10)


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_profile_can_be_used(path: Path) -> None:
    profile = load_profile(path.stem)
    layout = profile.layout({c.name: None if c.kind == "scalar" else 3 for c in profile.channels})
    assert [c.name for c in layout.channels] == list(profile.by_name)


@given(
    st.dictionaries(st.sampled_from(["voltage", "current"]), VALUES),
    st.none() | st.lists(VALUES, min_size=3, max_size=3),
)
def test_a_sample_becomes_one_list_in_layout_order(scalars: dict[str, Value], cells: list[Value] | None) -> None:
    layout = PROFILE.layout({"cells": 3, "voltage": None, "current": None})
    channels: dict[str, Values] = {"cells": cells, **scalars}
    flat = flatten(layout, channels)
    assert slots(layout) == ["voltage", "current", "cells[0]", "cells[1]", "cells[2]"]
    assert flat == [scalars.get("voltage"), scalars.get("current"), *(cells or [None] * 3)]
    assert len(flat) == width(layout)


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        ({"voltage": [1.0]}, "voltage: a list, the layout says scalar"),
        ({"cells": 1.0}, "cells: a scalar, the layout says a list of 2"),
        ({"cells": [1.0, 2.0, 3.0]}, "cells: 3, the layout says a list of 2"),
        ({"voltage": 1.0, "power": 2.0}, "power: not in layout"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(channels: dict[str, Values], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        flatten(PROFILE.layout({"voltage": None, "cells": 2}), channels)


def test_a_layout_has_a_hash_of_what_it_lays_out_whatever_the_order_of_asking() -> None:
    layouts = [
        PROFILE.layout({"voltage": None, "cells": 2}),
        PROFILE.layout({"voltage": None, "cells": 3}),
        PROFILE.layout({"voltage": None}),
    ]
    assert len({layout.hash for layout in layouts}) == 3
    assert PROFILE.layout({"cells": 2, "voltage": None}).hash == layouts[0].hash


@pytest.mark.parametrize("present", [{"power": None}, {"voltage": 3}, {"cells": None}])
def test_a_layout_of_what_the_profile_does_not_have_is_refused(present: dict[str, int | None]) -> None:
    with pytest.raises(ValueError, match="profile test"):
        PROFILE.layout(present)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"name": "other"}, "name"),
        ({"version": 0}, "version"),
        ({"channels": []}, "channels"),
        ({"colour": "red"}, "colour"),
        ({"channels": [{"name": "v", "title": "V", "unit": "V", "low": 1, "high": 1}]}, "channels.0"),
        ({"channels": [{"name": "v", "title": "V", "unit": "V", "low": 0, "high": 1}] * 2}, "file"),
    ],
)
def test_a_wrong_profile_is_refused_by_file_and_key(change: dict[str, object], key: str, tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(PROFILE.model_dump(mode="json") | change))
    with pytest.raises(ConfigError) as caught:
        load_profile("test", tmp_path)
    assert (caught.value.where, caught.value.key) == (str(path), key)


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vibrations\.yaml: file: No such file"):
        load_profile("vibrations", tmp_path)
