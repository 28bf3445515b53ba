"""Fixtures of all tests, and how they share several workers."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# a slow machine is no fault of an example
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = ["tests.fixtures_dbus", "tests.fixtures_docker", "tests.fixtures_mosquitto", "tests.fixtures_postgres"]

WHOLE = {"system", "up", "hardware"}  # each of these tests has the machine's ports or hardware for itself


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what runs the whole system, for it takes longest; of that last what keeps the disk busy for minutes."""
    items.sort(key=lambda item: (not whole(item.nodeid), any(item.get_closest_marker(m) for m in ("docker", "rig"))))


def whole(nodeid: str) -> bool:
    return nodeid.split("/")[1] in WHOLE


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Workers take whole files; what runs the whole system follows one after another on one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return "whole" if whole(nodeid) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)
