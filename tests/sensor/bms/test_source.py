"""Packs read by the real aiobmsble and bleak, from a played BlueZ whose packs speak the true protocols."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

pytest.importorskip("aiobmsble", reason="aiobmsble needs Python 3.12 or later")

from services.bus.profiles import load_profile
from services.sensor.rows import Rows
from tests.sensor.bms.conftest import Watching
from tests.sensor.bms.peripherals import Daly, Jbd
from tests.sensor.bms.played_bluez import PlayedBluez

pytestmark = pytest.mark.usefixtures("hasty")

Watch = Callable[[str], Watching]

JBD = "packs: {pack-1: {address: A4:C1:38:00:00:01, make: jbd, cells: 4, probes: 2, period_s: 0.5}}"
DALY = "packs: {pack-1: {address: C0:11:22:33:44:55, make: daly, cells: 4, probes: 2, period_s: 0.5}}"
BOTH = """
packs:
  pack-1: {address: A4:C1:38:00:00:01, make: auto, cells: 4, probes: 2, period_s: 0.5}
  pack-2: {address: c0-11-22-33-44-55, make: auto, cells: 4, probes: 2, period_s: 0.5}
"""


def jbd() -> Jbd:
    return Jbd("A4:C1:38:00:00:01", "JBD-SP04S020")


def daly() -> Daly:
    return Daly("C0:11:22:33:44:55", "DL-40D2020F8BC4")


async def test_a_jbd_pack(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus, jbd()):
        watching = watch(JBD)
        reading = await watching.good()
        assert reading.channels == {
            "voltage": 13.21,
            "current": -12.3,
            "soc": 0.87,
            "cell_voltages": [3.301, 3.302, 3.303, 3.304],
            "temperatures": pytest.approx([21.4, 22.0]),
        }
        assert 0 <= time.monotonic() - reading.mono < 1
        device = watching.source.devices["pack-1"]
        whole, strange = Rows(device, load_profile(device.profile)).take(reading)
    assert (whole, strange) == (True, [])


async def test_a_daly_pack_whose_board_is_no_cell(system_bus: str, watch: Watch) -> None:
    pack = daly()
    pack.battery.current, pack.battery.board = 45.6, 71.0
    async with PlayedBluez(system_bus, pack):
        reading = await watch(DALY).good()
    assert reading.channels["current"] == 45.6
    assert reading.channels["temperatures"] == [21.0, 22.0]
    assert reading.channels["cell_voltages"] == [3.301, 3.302, 3.303, 3.304]


async def test_each_reading_is_asked_for_anew(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack):
        watching = watch(JBD)
        await watching.good()
        pack.battery.cells[2] = 3.111
        reading = await watching.until(lambda r: not r.faults and r.channels["cell_voltages"][2] == 3.111)  # type: ignore[index]
    assert reading.channels["voltage"] == 13.02


async def test_two_makes_at_once_known_by_what_they_advertise(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus, jbd(), daly()) as bluez:
        watching = watch(BOTH)
        await asyncio.gather(watching.good("pack-1"), watching.good("pack-2"))
        assert bluez.adapter.scanning is None  # both are connected: nobody listens any more


async def test_a_wrong_checksum_is_no_reading(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack):
        watching = watch(JBD)
        await watching.good()
        pack.damage = "corrupt"
        fault = await watching.fault("silent")
        assert set(fault.faults) == {"voltage", "current", "soc", "cell_voltages", "temperatures"}
        assert fault.channels == {}
        pack.damage = ""
        await watching.good()


@pytest.mark.parametrize("make", [jbd, daly])
async def test_silence_in_the_middle_of_a_frame(system_bus: str, watch: Watch, make: Callable[[], Jbd | Daly]) -> None:
    pack = make()
    async with PlayedBluez(system_bus, pack):
        watching = watch(JBD if isinstance(pack, Jbd) else DALY)
        await watching.good()
        pack.damage = "cut"
        await watching.fault("silent")
        pack.damage = ""
        await watching.good()


async def test_a_fault_is_told_again_each_period(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus):
        watching = watch(JBD)
        first = await watching.fault("absent")
        second = await watching.fault("absent")
    assert second.mono > first.mono


async def test_a_pack_that_goes_away_and_comes_back(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        watching = watch(JBD)
        await watching.good()
        bluez.leave(pack)
        await watching.fault("disconnected")
        await watching.fault("absent")
        pack.battery.soc = 42
        bluez.in_range.append(pack)
        assert (await watching.good()).channels["soc"] == 0.42


async def test_a_connection_that_broke_is_made_anew(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        watching = watch(JBD)
        await watching.good()
        bluez.device(pack).drop()
        await watching.fault("disconnected")
        await watching.good()
        assert bluez.device(pack).connects == 2


@pytest.mark.parametrize("trouble", ["hangs", "mute", "gone"])
async def test_one_pack_never_delays_another(system_bus: str, watch: Watch, trouble: str) -> None:
    bad, well = jbd(), daly()
    async with PlayedBluez(system_bus, bad, well) as bluez:
        if trouble == "hangs":
            bluez.hang.add("/org/bluez/hci0/dev_A4_C1_38_00_00_01")
        elif trouble == "mute":
            bad.damage = "mute"
        else:
            bluez.in_range.remove(bad)
        watching = watch(BOTH)
        monos = [(await watching.good("pack-2")).mono for _ in range(7)]
        gaps = [later - earlier for earlier, later in pairwise(monos)]
    assert max(gaps) < 1.0, gaps
    assert not [r for r in watching.readings if r.device == "pack-1" and not r.faults]


async def test_another_make_than_the_file_says(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus, jbd()):
        await watch(JBD.replace("jbd", "daly")).fault("wrong_make")


async def test_a_search_for_services_that_broke_off_is_not_believed_for_ever(system_bus: str, watch: Watch) -> None:
    """bleak and BlueZ keep what they found; both are made to look again."""
    async with PlayedBluez(system_bus, jbd()) as bluez:
        bluez.half = True
        watching = watch(JBD)
        await watching.fault("wrong_make")
        await watching.good()


async def test_services_that_are_shown_too_late_are_there_the_next_time(system_bus: str, watch: Watch) -> None:
    """As BlueZ 5.82 does: bleak finds none. BlueZ need not forget them, for it would be as late the next time."""
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        bluez.early = True
        watching = watch(JBD)
        await watching.fault("wrong_make")
        await watching.good()
        assert bluez.device(pack).connects == 2


async def test_a_pack_with_a_password(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus, Jbd("A4:C1:38:00:00:01", "JBD-SP04S020", password="123456")):
        await watch(JBD.replace("probes: 2", "probes: 2, secret: '123456'")).good()


async def test_a_wrong_password(system_bus: str, watch: Watch) -> None:
    async with PlayedBluez(system_bus, Jbd("A4:C1:38:00:00:01", "JBD-SP04S020", password="123456")):
        await watch(JBD.replace("probes: 2", "probes: 2, secret: '000000'")).fault("secret")


async def test_auto_knows_no_such_pack(system_bus: str, watch: Watch) -> None:
    pack = Jbd("11:22:33:44:55:66", "garage door")
    async with PlayedBluez(system_bus, pack):
        await watch(BOTH.replace("A4:C1:38:00:00:01", pack.address)).fault("unknown_make")


async def test_a_torn_sense_wire(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    pack.battery.cells[1] = 0.0
    async with PlayedBluez(system_bus, pack):
        reading = await watch(JBD).until(lambda r: "voltage" in r.channels)
    assert reading.faults == {"cell_voltages[3]": "wrong_length"}
    assert reading.channels["cell_voltages"] == [3.301, 3.303, 3.304, None]


async def test_the_protections_of_the_bms_are_in_the_log(
    system_bus: str, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    pack = jbd()
    pack.battery.protection = 0x0041
    async with PlayedBluez(system_bus, pack):
        await watch(JBD).good()
    assert "it reports a problem, code 0x41" in caplog.text


async def test_bluez_that_does_not_run_yet(system_bus: str, watch: Watch) -> None:
    watching = watch(JBD)
    await watching.fault("bluetooth")
    async with PlayedBluez(system_bus, jbd()):
        await watching.good()


async def test_bluez_is_started_again(system_bus: str, watch: Watch) -> None:
    watching = watch(JBD)
    async with PlayedBluez(system_bus, jbd()):
        await watching.good()
    await watching.until(lambda r: bool(r.faults), len(watching.readings))
    async with PlayedBluez(system_bus, jbd()):
        await watching.good()


async def test_an_adapter_that_is_switched_off(system_bus: str, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    async with PlayedBluez(system_bus, jbd()) as bluez:
        bluez.adapter.powered = False
        await watch(JBD).fault("bluetooth")
    assert "No powered Bluetooth adapters found" in caplog.text


async def test_the_connection_of_a_process_that_was_killed_is_taken_over(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        bluez._heard(pack)
        bluez.device(pack).connect()
        assert bluez.device(pack).connected  # so it does not advertise
        await watch(JBD).good()


async def test_a_pack_that_is_let_go_after_each_reading(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        watching = watch(JBD.replace("period_s: 0.5", "period_s: 20, stay_connected: false"))
        await watching.good()
        async with asyncio.timeout(10):
            await bluez.device(pack).dropped.wait()


async def test_the_end_lets_go_of_the_packs(system_bus: str, watch: Watch) -> None:
    pack = jbd()
    async with PlayedBluez(system_bus, pack) as bluez:
        watching = watch(JBD)
        await watching.good()
        await watching.stop()
        assert not bluez.device(pack).connected
