"""The virtual Pi, booted once for all tests that use it. Marker `rig`; where it cannot be had they are skipped."""

from collections.abc import Iterator

import pytest

from tests.hardware.rig import cache
from tests.hardware.rig.bench import Bench

BROKER = 1883
PATIENCE_S = 1500  # building the root file system is in it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("rig"):
            item.add_marker(pytest.mark.timeout(PATIENCE_S))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Booted, the board plugged in, the guest's local broker to be reached at `bench.pi.machine.ports[1883]`."""
    try:
        bench = Bench(tmp_path_factory.mktemp("virtual-pi"), forward=[BROKER])
    except cache.NoRig as reason:
        pytest.skip(str(reason))
    with bench:
        bench.pi.plug_board()
        yield bench
