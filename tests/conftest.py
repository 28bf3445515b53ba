"""Fixtures of all tests, and how they share several workers."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# a slow machine is no fault of an example
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = ["tests.fixtures_dbus", "tests.fixtures_docker", "tests.fixtures_mosquitto", "tests.fixtures_postgres"]

# One after another: each of these runs all services at once, or keeps an engine or an emulator busy.
GROUPS = {
    "tests/system/test_compose.py": "containers",
    "tests/mosquitto/test_container.py": "containers",
    "tests/system/": "system",
    "tests/hardware/test_": "hardware",
}


def group(nodeid: str) -> str | None:
    return next((name for path, name in GROUPS.items() if nodeid.startswith(path)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first."""
    order = [*dict.fromkeys(GROUPS.values()), None]
    items.sort(key=lambda item: order.index(group(item.nodeid)))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Workers take whole groups, then whole files."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)
