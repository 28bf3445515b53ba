"""Fixtures of all tests, and how they share several workers."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# a slow machine is no fault of an example
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = ["tests.fixtures_docker", "tests.fixtures_mosquitto", "tests.fixtures_postgres"]

WHOLE = {"system", "up", "hardware"}  # each of these tests has the machine's ports or hardware for itself


@pytest.hookimpl(wrapper=True)  # around xdist's own, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """With `-n 2`: what runs the whole system follows one after another on one worker, from the beginning, for it takes
    longest, the virtual Pi last, for it may still be built meanwhile; of the rest each file stays together."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("system" if whole(item) else str(item.path)))
    items.sort(key=lambda item: (not whole(item), item.get_closest_marker("rig") is not None))
    return (yield)


def whole(item: pytest.Item) -> bool:
    return item.path.parent.name in WHOLE
