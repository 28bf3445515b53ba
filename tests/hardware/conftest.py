"""The virtual Pi, booted once for all tests that use it. Marker `rig`; where it cannot be had they are skipped."""

from collections.abc import Iterator

import pytest

from tests.hardware.edge import BROKER, SERVICES, START_S, Edge, log, new_bench, rest
from tests.hardware.rig.bench import Bench

TOO_BUSY = 4.0  # times slower than an idle computer
PATIENCE_S = 1500  # building the root file system is in it
# test_units and test_bms have machines of their own; the others share one, which at first is empty
ORDER = ("test_units", "test_bms", "test_rig", "test_scores", "test_ble", "test_edge", "test_power_cut")


def place_of(item: pytest.Item) -> int:
    return ORDER.index(item.path.stem) if item.path.stem in ORDER else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The virtual Pi's services live in real time: its tests run alone, when they are asked for by their marker."""
    places = [n for n, item in enumerate(items) if item.get_closest_marker("rig")]
    if "rig" not in config.option.markexpr:
        for n in places:
            items[n].add_marker(pytest.mark.skip(reason="the virtual Pi runs by itself: ./emberwatch test -m rig"))
    rigs = sorted((items[n] for n in places), key=place_of)
    for n, item in zip(places, rigs, strict=True):
        item.add_marker(pytest.mark.timeout(PATIENCE_S))
        items[n] = item


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Booted, the board plugged in, the guest's local broker to be reached at `bench.pi.machine.ports[1883]`."""
    with new_bench(tmp_path_factory.mktemp("virtual-pi"), BROKER) as bench:
        log(f"booted in {bench.pi.machine.boot_s:.1f} s")
        bench.pi.plug_board()
        yield bench


@pytest.fixture(scope="session")
def edge(bench: Bench) -> Iterator[Edge]:
    """Our services at work on the bench, healthy, with BlueZ on the air; nothing is started twice on one machine."""
    machine = bench.pi.machine
    if machine.patience > TOO_BUSY:  # their own limits of some seconds are of real time
        pytest.skip(
            f"too busy a computer for services in real time: the virtual Pi took {machine.boot_s:.0f} s to boot"
        )
    rest(bench)
    bench.pi.switch_radio_on()
    edge = Edge(bench)
    edge.start()
    with edge.listening():
        took = edge.wait(lambda: set(SERVICES) <= edge.status.keys() and edge.healthy(), START_S, "services, good rows")
        log(f"services at work and all channels good after {took:.1f} s")
        yield edge
