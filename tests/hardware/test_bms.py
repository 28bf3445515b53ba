"""Packs of two makes over Bluetooth: our sensor service, aiobmsble, bleak, real BlueZ and the real kernel.

The packs are models that speak their makes' protocols over the air, the same as in tests/sensor/bms. The board is not
plugged in; what the alert service has is its own Bluetooth, on the same radio.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hardware.edge import BROKER, START_S, Edge, log, new_bench
from tests.hardware.rig.parts import TRIXIE
from tests.hardware.rig.peripheral import Peripheral
from tests.hardware.test_ble import RESTART, TEMPERATURE
from tests.hardware.test_edge import SLACK_S
from tests.sensor.bms import peripherals

pytestmark = [pytest.mark.rig, pytest.mark.usefixtures("on_the_air")]
PERIOD_S = 4.0
ALARM_S = 3 * PERIOD_S
ROWS = "emberwatch/v1/pi/{}/telemetry/battery"
SETTINGS = """
bus: {node: pi, data_dir: /var/lib/emberwatch}
sensor: {source: bms, bms: /etc/emberwatch/bms.yaml, clock: ntp}
alert: {bluetooth: {}}
"""
PACKS = f"""
packs:
  pack-1: {{address: "C4:C1:38:00:00:01", make: auto, cells: 4, probes: 2, period_s: {PERIOD_S:g}}}
  pack-2: {{address: "C0:11:22:33:44:55", make: auto, cells: 4, probes: 2, period_s: {PERIOD_S:g}}}
"""


class Packs(Edge):
    settings = SETTINGS

    def configure(self) -> None:
        self.bench.pi.machine.write("/etc/emberwatch/emberwatch.yaml", self.settings)
        self.bench.pi.machine.write("/etc/emberwatch/bms.yaml", PACKS)


def on_air(edge: Edge, pack: peripherals.Peripheral) -> Peripheral:
    """A model of a pack as a thing on the rig's air."""

    def answer(data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        pack.notify = lambda _, piece: pieces.append(piece)
        pack.written(data)
        return pieces

    offered = {short(uuid): words for uuid, words in pack.characteristics}
    air = edge.bench.pi.air
    return Peripheral(air, pack.address, pack.name, short(pack.service), offered, answer, short(pack.answers_on))


def short(uuid: str) -> int:
    return int(uuid[4:8], 16)


@contextmanager
def gone(pack: Peripheral) -> Iterator[None]:
    """Out of range, and back again."""
    pack.__exit__()
    try:
        yield
    finally:
        pack.__enter__()


@pytest.fixture(scope="module")
def jbd() -> peripherals.Jbd:
    return peripherals.Jbd("C4:C1:38:00:00:01", "JBD-SP04S020")


@pytest.fixture(scope="module")
def daly() -> peripherals.Daly:
    return peripherals.Daly("C0:11:22:33:44:55", "DL-40D2020F8BC4")


@pytest.fixture(scope="module")
def bms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packs]:
    """Broker, sensor and alert on a machine of their own, with a radio. (aiobmsble needs Python 3.12.)"""
    with new_bench(tmp_path_factory.mktemp("packs"), BROKER, suite=TRIXIE) as bench:
        log(f"booted in {bench.pi.machine.boot_s:.1f} s")
        bench.pi.switch_radio_on()
        bms = Packs(bench)
        bms.start(["sensor", "alert"])
        with bms.listening():
            yield bms


@pytest.fixture(scope="module")
def on_the_air(bms: Packs, jbd: peripherals.Jbd, daly: peripherals.Daly) -> Iterator[dict[str, Peripheral]]:
    with on_air(bms, jbd) as first, on_air(bms, daly) as second:
        yield {"pack-1": first, "pack-2": second}


def test_two_makes_are_found_and_every_cell_is_read(bms: Packs, jbd: peripherals.Jbd, daly: peripherals.Daly) -> None:
    took = bms.wait(lambda: both_good(bms), START_S, "good rows of both packs")
    log(f"both packs read after {took:.1f} s")
    for name, pack in (("pack-1", jbd), ("pack-2", daly)):
        channels = bms.topics[ROWS.format(name)]["channels"]
        log(f"{name}: {channels}")
        assert channels["cell_voltages"] == pack.battery.cells
        assert channels["current"] == pack.battery.current
        assert channels["soc"] == pack.battery.soc / 100
        assert channels["temperatures"] == pytest.approx(pack.battery.temperatures, abs=0.5)  # Daly: whole degrees


def both_good(bms: Packs) -> bool:
    return good(bms, "pack-1") and good(bms, "pack-2")


def good(bms: Packs, pack: str) -> bool:
    """Its latest row has come and no channel of it is faulty."""
    row = bms.topics.get(ROWS.format(pack))
    return row is not None and not row.get("quality")


def test_a_cell_that_is_overcharged_is_an_alarm(bms: Packs, jbd: peripherals.Jbd) -> None:
    jbd.battery.cells[2] = 4.31
    try:
        bms.wait(lambda: bms.active("cell_over_voltage", "cell_voltage_max"), 60, "cell_over_voltage")
    finally:
        jbd.battery.cells[2] = 3.303


def test_a_pack_that_leaves_is_an_alarm_and_the_other_goes_on(bms: Packs, on_the_air: dict[str, Peripheral]) -> None:
    bms.wait(
        lambda: both_good(bms) and not bms.active("sensor_fault", "voltage"), 60, "good rows, and no fault of before"
    )
    before, connects = bms.rows[-1].at, on_the_air["pack-2"].connects
    with gone(on_the_air["pack-1"]):
        bms.wait(lambda: bms.rows[-1].quality != {}, 30, "it says so")
        faulty = bms.rows[-1]
        bms.wait(lambda: bms.raised("sensor_fault", "voltage", before) is not None, 60, "the alarm")
        assert good(bms, "pack-2")
    raised = bms.raised("sensor_fault", "voltage", before)
    assert raised is not None
    late = raised - faulty.at
    log(f"a pack has gone: {faulty.of('voltage')} {faulty.at - before:.1f} s later, alarm {late:.1f} s after that")
    assert late < ALARM_S + SLACK_S * bms.bench.pi.machine.patience
    bms.wait(lambda: both_good(bms), 60, "it is back")
    assert on_the_air["pack-2"].connects == connects  # nobody has let go of it


def test_a_phone_reads_beside_the_packs(bms: Packs) -> None:
    phone = bms.bench.pi.air.phone("C0:C1:C2:C3:C4:01")
    phone.connect()
    read = int.from_bytes(phone.read(TEMPERATURE), "little", signed=True)
    log(f"a phone reads {read / 100} degC")
    assert read in (2140, 2200)
    phone.disconnect()


def test_bluez_started_again_the_packs_are_read_again(bms: Packs) -> None:
    bms.wait(lambda: both_good(bms), 60, "good rows of both packs")
    bms.bench.pi.machine.run(RESTART)
    bms.wait(lambda: not both_good(bms), 30, "they say so")
    took = bms.wait(lambda: both_good(bms), 90, "good rows of both packs")
    log(f"BlueZ was started again: both packs read after {took:.1f} s")
    assert "Traceback" not in bms.logs()
