"""The virtual Pi, booted once for all tests that use it. Marker `rig`; where it cannot be had they are skipped."""

from collections.abc import Iterator

import pytest

from tests.hardware.edge import AT_REST, SERVICES, WARM, Edge
from tests.hardware.rig import cache
from tests.hardware.rig.bench import Bench

BROKER = 1883
START_S = 120.0  # emulated, four Pythons at once
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


@pytest.fixture(scope="session")
def edge(bench: Bench) -> Iterator[Edge]:
    """Our services at work on the bench, healthy, with BlueZ on the air; nothing is started twice on one machine."""
    bench.adc.ain = list(AT_REST)
    for probe in bench.probes:
        probe.celsius = WARM
    bench.pi.switch_radio_on()
    edge = Edge(bench)
    edge.start()
    with edge.listening():
        edge.wait(lambda: set(SERVICES) <= edge.status.keys() and edge.healthy(), START_S, "services and good rows")
        yield edge
