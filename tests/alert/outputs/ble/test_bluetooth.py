"""The Bluetooth output on a real message bus: what BlueZ is given, and that it is given again after every loss."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import pytest
from dbus_fast import DBusError, Variant

from services.alert.desk import Desk
from services.alert.display import view_of
from services.alert.engine import Engine, Now
from services.alert.lcd import View
from services.alert.outputs.ble import alarms, bluetooth
from services.alert.outputs.ble import bytes as sig
from services.alert.outputs.ble.attributes import Node, ours
from services.alert.outputs.ble.bluetooth import Bluetooth
from services.alert.outputs.settings import BluetoothSettings
from services.bus.messages import Acknowledge, Reply
from tests.alert.builders import at, judge, sample, shipped
from tests.alert.outputs.ble.fake_bluez import PHONE, FakeBluez

CHANNELS: dict[str, Any] = {"voltage": 48.2, "current": -1.5, "soc": 0.61}
SUMMARY, ALARM, LIST, ACKNOWLEDGE = (ours(n) for n in (2, 3, 4, 5))


class Rig:
    """An engine with one pack, the output under test, and the desk between them."""

    def __init__(self, address: str, secure: bool, set_clock: bluetooth.SetClock | None = None) -> None:
        self.engine = Engine("pi", shipped(), 0.0)
        self.replies: list[Reply] = []
        self.desk = Desk("pi", self.command)
        node = Node("pi", "Raspberry Pi 5", "0.1.0", secure)
        self.output = Bluetooth(BluetoothSettings(), node, self.desk, set_clock, address)
        self.t = 0
        self.run(30.0)

    def command(self, device: str, command: Acknowledge) -> Reply:
        reply, _ = self.engine.command(device, command, self.now())
        self.replies.append(reply)
        return reply

    def now(self) -> Now:
        return Now(float(self.t), at(self.t).timestamp())

    def run(self, *temperatures: float) -> None:
        """Samples, then what the service's loop does after each batch."""
        for value in temperatures:
            self.t += 1
            judge(self.engine, sample(self.t, temperature_max=value, **CHANNELS))
        self.show()

    def show(self) -> None:
        self.output.show(self.view())

    def view(self) -> View:
        return view_of(self.engine, self.now(), 0.0)

    async def works(self) -> None:
        await until(lambda: self.output.fault is None)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(address: str, secure: bool = True, **more: Any) -> AsyncIterator[Rig]:
    rig = Rig(address, secure, **more)
    rig.output.open()
    try:
        yield rig
    finally:
        rig.output.close()
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluetooth, "RETRY_S", 0.05)
    monkeypatch.setattr(bluetooth, "CHECK_S", 0.1)


async def test_bluez_is_given_the_tree_the_agent_and_two_advertisements(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        kinds = [kind for interfaces in bluez.objects.values() for kind in interfaces if kind.startswith("org.bluez")]
        assert kinds.count("org.bluez.GattService1") == 5
        kind = "org.bluez.GattService1"
        services = {i[kind]["UUID"].value for i in bluez.objects.values() if kind in i}
        assert services == {"180a", "1805", "180f", "181a", ours(1)}
        assert bluez.adapter.powered
        assert bluez.adapter.alias == "Emberwatch pi"
        assert bluez.agent is not None
        assert bluez.agent[1] == "DisplayYesNo"
        phones, beacon = bluez.advertisements.values()
        assert (phones["Type"], phones["ServiceUUIDs"]) == ("peripheral", [ours(1), "180f", "181a"])
        assert (beacon["Type"], list(beacon["ServiceData"])) == ("peripheral", ["fcd2"])
        for path, interfaces in bluez.objects.items():  # every object belongs to one that is there
            for kind, parent in (("GattCharacteristic1", "Service"), ("GattDescriptor1", "Characteristic")):
                if f"org.bluez.{kind}" in interfaces:
                    assert interfaces[f"org.bluez.{kind}"][parent].value in bluez.objects, path


async def test_a_phone_reads_in_parts(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        assert await bluez.read("2a19") == b"\x3d"
        assert await bluez.read("2a6e") == (3000).to_bytes(2, "little")
        assert await bluez.read("2a24", offset=10) == b"Pi 5"
        with pytest.raises(DBusError) as error:
            await bluez.read("2a24", offset=99)
        assert error.value.type == "org.bluez.Error.InvalidOffset"


async def test_a_value_that_is_not_known_is_refused(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        rig.output.show(View([], [("pack-1", None)], "", 0))
        with pytest.raises(DBusError, match="0x80"):
            await bluez.read("2a19")


async def test_only_who_subscribed_is_told_and_only_of_changes(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        rig.run(65.0, 65.0, 65.0)
        await bluez.read(ALARM)
        assert not [c for c in bluez.changed if c[1] == "Value"]
        await bluez.subscribe(ALARM)
        rig.run(66.0)
        rig.run(85.0, 85.0, 85.0)
        await until(lambda: any(c[1] == "Value" for c in bluez.changed))
        ((path, _, value),) = [c for c in bluez.changed if c[1] == "Value"]
        assert path == bluez.path_of(ALARM)
        assert bytes(value) == await bluez.read(ALARM)


async def test_the_advertisement_follows_an_alarm_at_once(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        rig.show()
        bluez.changed.clear()
        rig.run(65.0, 65.0, 65.0)
        await until(lambda: any(c[1] == "ServiceData" for c in bluez.changed))
        data = bytes(bluez.changed[-1][2]["fcd2"].value)
        assert bytes([0x1D, 1, 0x26, 1, 0x28, 1]) in data


async def test_a_phone_acknowledges_what_it_has_read(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        rig.run(65.0, 65.0, 65.0)
        record = await bluez.read(ALARM)
        await bluez.write(ACKNOWLEDGE, record[: alarms.TOKEN])
        machine = rig.engine.register.alarms["pack-1", "over_temperature"]["temperature_max"]
        assert machine.acknowledged
        assert rig.replies[-1].status == "done"
        rig.show()
        assert (await bluez.read(SUMMARY))[:4] == bytes([1, 3, 1, 0])


async def test_what_got_worse_meanwhile_is_not_acknowledged(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        rig.run(65.0, 65.0, 65.0)
        record = await bluez.read(ALARM)
        rig.run(85.0, 85.0, 85.0)
        with pytest.raises(DBusError, match="0x82"):
            await bluez.write(ACKNOWLEDGE, record[: alarms.TOKEN])
        assert rig.replies[-1].reason == "severity has risen to critical"


async def test_bad_writes_are_answered(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        with pytest.raises(DBusError) as error:
            await bluez.write(ACKNOWLEDGE, b"\x01")
        assert error.value.type == "org.bluez.Error.InvalidValueLength"
        with pytest.raises(DBusError, match="0x81"):
            await bluez.write(ACKNOWLEDGE, bytes(16) + b"\x01\x00\x00\x00")
        with pytest.raises(DBusError) as error:
            await bluez.write(ACKNOWLEDGE, bytes(20), offset=Variant("q", 3))
        assert error.value.type == "org.bluez.Error.InvalidOffset"
        with pytest.raises(DBusError) as error:
            await bluez.write("2a19", b"\x64")
        assert error.value.type == "org.bluez.Error.NotPermitted"
        await bluez.write(ACKNOWLEDGE, b"", **{"prepare-authorize": Variant("b", True)})
        assert rig.replies == []


async def test_a_phone_gives_the_time_where_nothing_else_does(dbus: str) -> None:
    taken: list[float] = []
    answer: list[str | None] = [None]

    def set_clock(seconds: float) -> str | None:
        taken.append(seconds)
        return answer[0]

    moment = datetime(2026, 11, 21, 9, 15, 2)
    async with FakeBluez(dbus) as bluez, running(dbus, set_clock=set_clock) as rig:
        await rig.works()
        await bluez.write("2a2b", sig.current_time(moment))
        assert taken == [moment.timestamp()]
        answer[0] = "the clock is set already (ntp)"
        with pytest.raises(DBusError, match="0x80"):
            await bluez.write("2a2b", sig.current_time(moment))


async def test_when_bluez_is_started_again_everything_is_registered_again(dbus: str) -> None:
    async with running(dbus) as rig:
        await until(lambda: rig.output.fault == "BlueZ does not run")
        async with FakeBluez(dbus) as bluez:
            await rig.works()
            assert bluez.application is not None
        await until(lambda: rig.output.fault is not None)
        rig.run(31.0)
        async with FakeBluez(dbus) as again:
            await rig.works()
            assert again.application is not None
            assert len(again.advertisements) == 2
            assert await again.read("2a6e") == (3100).to_bytes(2, "little")


@pytest.mark.parametrize("what", ["power", "advertisements"])
async def test_what_somebody_took_away_is_put_back(dbus: str, what: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        if what == "power":
            bluez.adapter.powered = False
        else:
            bluez.advertisements.clear()
        await until(lambda: bluez.adapter.powered and len(bluez.advertisements) == 2)
        await rig.works()


async def test_nothing_going_on_bluez_is_asked_now_and_then(dbus: str) -> None:
    """Once, each look made the next one come at once: a whole core of a Pi for nothing."""
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        first, began = bluez.adapter.looks, time.monotonic()
        await until(lambda: bluez.adapter.looks >= first + 5)
        assert bluez.adapter.looks - first <= (time.monotonic() - began) / bluetooth.CHECK_S + 1


async def test_when_the_message_bus_ends_that_is_noticed_at_once(
    dbus_daemon: tuple[str, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluetooth, "CHECK_S", 3600.0)
    address, daemon = dbus_daemon
    with suppress(EOFError):  # what stands for BlueZ loses its bus as well
        async with FakeBluez(address), running(address) as rig:
            await rig.works()
            daemon.kill()
            await until(lambda: rig.output.fault is not None)


async def test_a_new_device_is_registered_and_the_old_tree_withdrawn(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        before = bluez.application
        more = View([], [("pack-1", CHANNELS), ("pack-2", CHANNELS)], "", 0)
        rig.output.show(more)
        await until(lambda: bluez.application not in (None, before))
        batteries = [i for i in bluez.objects.values() if "org.bluez.GattService1" in i]
        assert [i["org.bluez.GattService1"]["UUID"].value for i in batteries].count("180f") == 2
        assert all(path.startswith(f"{bluez.application}/") for path in bluez.objects)


async def test_with_room_for_one_advertisement_phones_come_first(dbus: str) -> None:
    bluez = FakeBluez(dbus)
    bluez.rooms = 1
    async with bluez, running(dbus) as rig:
        await rig.works()
        assert [a["Type"] for a in bluez.advertisements.values()] == ["peripheral"]


@pytest.mark.parametrize("known", [True, False])
async def test_a_second_phone_hears_it_while_the_first_is_connected(dbus: str, known: bool) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        assert len(bluez.advertisements) == 2
        for path in bluez.advertisements:  # the kernel ends the one that the phone heard: BlueZ counts it still
            bluez.advertisements[path] = {"Type": "ended"}
        if known:
            bluez.phone.connect()
        else:
            bluez.stranger_connects()
        await until(lambda: [a["Type"] for a in bluez.advertisements.values()] == ["peripheral"] * 2)
        assert rig.output.fault is None


async def test_an_adapter_that_advertises_beside_no_connection_does_so_again_after_it(dbus: str) -> None:
    async with FakeBluez(dbus) as bluez, running(dbus) as rig:
        await rig.works()
        bluez.advertises_beside_a_connection = False
        bluez.phone.connect()
        await until(lambda: not bluez.advertisements)
        application = bluez.application
        await asyncio.sleep(3 * bluetooth.CHECK_S)
        assert (rig.output.fault, bluez.application) == (None, application), "the connected phone is not disturbed"
        bluez.phone.connect(False)
        await until(lambda: len(bluez.advertisements) == 2)


async def test_no_adapter_is_a_named_fault(dbus: str) -> None:
    bluez = FakeBluez(dbus)
    async with bluez, running(dbus) as rig:
        rig.output._settings = BluetoothSettings(adapter="hci3")
        await until(lambda: rig.output.fault == "no Bluetooth adapter hci3")


class TestPairing:
    async def test_the_number_is_compared_at_the_display(self, dbus: str) -> None:
        async with FakeBluez(dbus) as bluez, running(dbus) as rig:
            await rig.works()
            assert bluez.adapter.pairable
            for yes in (True, False):
                asking = asyncio.create_task(bluez.agent_asked("RequestConfirmation", "ou", PHONE, 42))
                await until(lambda: rig.desk.question)
                assert rig.desk.question is not None
                assert rig.desk.question.lines[1] == "Does it show 000042?"
                assert not asking.done()
                answer = rig.desk.press if yes else rig.desk.hold
                answer(rig.desk.question.asked + 1)
                if yes:
                    await asking
                else:
                    with pytest.raises(DBusError, match="not confirmed"):
                        await asking

    async def test_a_phone_that_gives_up_takes_its_question_along(self, dbus: str) -> None:
        async with FakeBluez(dbus) as bluez, running(dbus) as rig:
            await rig.works()
            asking = asyncio.create_task(bluez.agent_asked("RequestConfirmation", "ou", PHONE, 42))
            await until(lambda: rig.desk.question)
            await bluez.agent_asked("Cancel", "")
            with pytest.raises(DBusError, match="not confirmed"):
                await asking
            assert rig.desk.question is None

    async def test_just_works_is_refused_with_a_display(self, dbus: str) -> None:
        async with FakeBluez(dbus) as bluez, running(dbus) as rig:
            await rig.works()
            with pytest.raises(DBusError, match="nobody has opened"):
                await bluez.agent_asked("RequestAuthorization", "o", PHONE)

    async def test_without_a_display_only_who_paired_in_the_window_is_listened_to(self, dbus: str) -> None:
        async with FakeBluez(dbus) as bluez, running(dbus, secure=False) as rig:
            await rig.works()
            assert bluez.agent is not None
            assert bluez.agent[1] == "NoInputNoOutput"
            assert not bluez.adapter.pairable
            rig.run(65.0, 65.0, 65.0)
            token = (await bluez.read(ALARM))[: alarms.TOKEN]
            bluez.phone.pair()  # without bonding, outside of the window: BlueZ alone does not prevent it
            with pytest.raises(DBusError) as error:
                await bluez.write(ACKNOWLEDGE, token)
            assert error.value.type == "org.bluez.Error.NotAuthorized"
            rig.desk.window_until = float("inf")
            rig.show()
            await until(lambda: bluez.adapter.pairable)
            bluez.phone.pair()
            await until(lambda: bluez.phone.trusted)
            rig.desk.window_until = 0.0
            rig.show()
            await until(lambda: not bluez.adapter.pairable)
            await bluez.write(ACKNOWLEDGE, token)
            assert rig.replies[-1].status == "done"

    async def test_who_is_trusted_stays_so_over_a_restart(self, dbus: str) -> None:
        bluez = FakeBluez(dbus)
        bluez.phone.paired = bluez.phone.trusted = True
        async with bluez, running(dbus, secure=False) as rig:
            await rig.works()
            rig.run(65.0, 65.0, 65.0)
            token = (await bluez.read(ALARM))[: alarms.TOKEN]
            await bluez.write(ACKNOWLEDGE, token)
            assert rig.replies[-1].status == "done"
            bluez.phone.trusted = False  # the owner has removed it
            await until(lambda: not rig.output._pairing.trusted)
            with pytest.raises(DBusError):
                await bluez.write(ACKNOWLEDGE, token)
