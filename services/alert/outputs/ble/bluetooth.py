"""The Bluetooth output: a GATT server and two advertisements on BlueZ, kept up whatever happens to them."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from dbus_fast import BusType, DBusError
from dbus_fast.aio import MessageBus

from services.alert.desk import Desk
from services.alert.lcd import View
from services.alert.outputs.ble import bthome
from services.alert.outputs.ble.alarms import REVISIONS, Token, read_token
from services.alert.outputs.ble.attributes import Node, Service, Tree, Write, ours, readings
from services.alert.outputs.ble.bluez import Bluez, BluezError
from services.alert.outputs.ble.bytes import read_current_time
from services.alert.outputs.ble.objects import Advertisement, Agent, Application, address, refused
from services.alert.outputs.ble.pairing import Pairing
from services.alert.outputs.settings import BluetoothSettings
from services.alert.register import Change
from services.bus.messages import SEVERITIES, Acknowledge

log = logging.getLogger(__name__)

RETRY_S: Final = 2.0
CHECK_S: Final = 5.0
ADVERTISE_S: Final = 5.0  # readings change each second; an alarm is advertised at once
ROOT: Final = "/org/emberwatch"
PHONES, BEACON = f"{ROOT}/advertisement0", f"{ROOT}/advertisement1"
NO_ALARM, REFUSED, CLOCK_SET = 0x81, 0x82, 0x80  # ATT errors; 0x80 of Current Time: data field ignored
SetClock = Callable[[float], str | None]
"""Sets the computer's clock to s since 1970; returns why not."""


class Bluetooth:
    """Args: secure: there is a display and a button to confirm a pairing; set_clock: None = never."""

    name = "bluetooth"

    def __init__(
        self,
        settings: BluetoothSettings,
        node: Node,
        desk: Desk,
        set_clock: SetClock | None,
        address: str | None = None,
    ) -> None:
        self._settings, self._node, self._desk, self._set_clock = settings, node, desk, set_clock
        self._address = address  # of the D-Bus; None = the system's
        self._pairing = Pairing(desk, node.secure, time.monotonic)
        self._tree = Tree(node)
        self._view = View([], [], "", 0)
        self._services: list[Service] = self._tree.services(self._view, datetime.now())
        self._application: Application | None = None
        self._beacon: Advertisement | None = None
        self._advertised = float("-inf")
        self._pairable = False
        self._registered: list[str] = []  # the shape of what BlueZ knows
        self._generation = 0
        self._wanted: list[str] = []  # advertisements
        self._standing: set[str] = set()  # of them, those that BlueZ has taken
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = "not ready yet"
        self._drawn: deque[tuple[float, float]] = deque(maxlen=16)

    # --- the output -------------------------------------------------------------------------------------------------

    @property
    def fault(self) -> str | None:
        return self._fault

    @property
    def drawn(self) -> Sequence[tuple[float, float]]:
        return tuple(self._drawn)

    @property
    def _advertised_name(self) -> str:
        return self._settings.name or f"Emberwatch {self._node.name}"[:20]

    def open(self) -> None:
        self._task = asyncio.create_task(self._keep_up(), name="output.bluetooth")

    def show(self, view: View) -> None:
        given, changes, self._view = time.monotonic(), self._tree.changes, view
        self._services = self._tree.services(view, datetime.now())
        if self._tree.changes != changes:
            self._advertised = float("-inf")
        if self._application is not None and _shape(self._services) == self._registered:
            self._application.update(self._services)
            self._advertise(given)
            self._drawn.append((given, time.monotonic()))
        else:  # another device or probe: register anew
            self._wake.set()
        if self._pairing.open != self._pairable:
            self._wake.set()

    def changed(self, change: Change) -> None:
        """The next view tells it."""

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- BlueZ ------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        while True:
            try:
                await self._live()
            except Exception as error:  # D-Bus gone, BlueZ refused, a bug: alarms do not care
                reason = str(error) or type(error).__name__
                if reason != self._fault:
                    log.warning("output bluetooth: %s", reason)
                self._fault = reason
            self._application = self._beacon = None
            await asyncio.sleep(RETRY_S)

    async def _live(self) -> None:
        """From the connection to D-Bus until something is lost, which raises."""
        bus = MessageBus(self._address) if self._address else MessageBus(bus_type=BusType.SYSTEM)
        await bus.connect()
        ended = asyncio.create_task(_ended(bus), name="output.bluetooth.ended")
        ended.add_done_callback(lambda _: self._wake.set())
        try:
            bluez = Bluez(bus, self._settings.adapter, self._wake)
            await bluez.watch()
            await bluez.power_on(self._advertised_name)
            bus.export(f"{ROOT}/agent", Agent(self._pairing))
            await bluez.register_agent(f"{ROOT}/agent", "DisplayYesNo" if self._node.secure else "NoInputNoOutput")
            self._pairing.trusted = await bluez.trusted()
            await self._allow_pairing(bluez)
            await self._register(bus, bluez)
            await self._begin_advertising(bus, bluez)
            connections = bluez.connections
            log.info("output bluetooth: %s advertises", self._settings.adapter)
            self._fault = None
            while True:
                await self._something(bus, bluez)
                await self._take_in(bluez)
                if not self._node.secure:  # the owner may have removed one (bluetoothctl)
                    self._pairing.trusted = await bluez.trusted()
                if self._pairing.open != self._pairable:
                    await self._allow_pairing(bluez)
                if _shape(self._services) != self._registered:
                    await self._register(bus, bluez)
                if connections != bluez.connections:
                    connections = bluez.connections
                    await self._advertise_again(bluez)
                await bluez.check(len(self._standing))
        finally:
            bus.disconnect()
            ended.cancel()

    async def _something(self, bus: MessageBus, bluez: Bluez) -> None:
        """Wait until there is something to do. Raises ConnectionError when BlueZ or D-Bus is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_S):
                await self._wake.wait()
        self._wake.clear()
        if bluez.lost:
            raise ConnectionError("BlueZ has ended or was started again")
        if not bus.connected:
            raise ConnectionError("D-Bus has ended")

    async def _register(self, bus: MessageBus, bluez: Bluez) -> None:
        """Our services, in their present shape."""
        old, self._application = self._application, None
        if old is not None:
            await bluez.unregister_application(old.path)
            old.withdraw()
        self._generation += 1
        shape = _shape(self._services)
        application = Application(bus, f"{ROOT}/gatt{self._generation}", self._services, self._write)
        await bluez.register_application(application.path)
        self._application, self._registered = application, shape

    async def _begin_advertising(self, bus: MessageBus, bluez: Bluez) -> None:
        """One advertisement for phones and, where there is room for it, one for Home Assistant."""
        wanted = {PHONES: Advertisement(self._advertised_name, (ours(1), "180f", "181a"))}
        self._beacon = None
        if self._settings.bthome and await bluez.rooms() >= 2:
            data = bthome.advertisement(readings(self._view))
            wanted[BEACON] = self._beacon = Advertisement(data={bthome.UUID: data})
        self._wanted, self._standing = list(wanted), set()
        for place, advertisement in wanted.items():
            bus.export(place, advertisement)
            await bluez.register_advertisement(place)
            self._standing.add(place)

    async def _advertise_again(self, bluez: Bluez) -> None:
        """For the next phone: with extended advertising the kernel ends what a phone has connected to until it goes.

        An adapter that cannot advertise beside a connection says no; it is asked again at the next change.
        """
        for place in self._wanted:
            if place in self._standing:
                await bluez.unregister_advertisement(place)
                self._standing.discard(place)
            try:
                await bluez.register_advertisement(place)
            except BluezError as error:
                log.info("output bluetooth: beside this connection nothing is advertised: %s", error)
            else:
                self._standing.add(place)

    def _advertise(self, now: float) -> None:
        if self._beacon is not None and now - self._advertised >= ADVERTISE_S:
            self._beacon.set(bthome.UUID, bthome.advertisement(readings(self._view)))
            self._advertised = now

    async def _allow_pairing(self, bluez: Bluez) -> None:
        self._pairable = self._pairing.open
        await bluez.pairable(self._pairable)

    async def _take_in(self, bluez: Bluez) -> None:
        """Trust those who paired while they were allowed to."""
        while bluez.paired:
            device = bluez.paired.pop()
            if self._pairing.open:
                await bluez.trust(device)
                self._pairing.trusted.add(device)
                log.info("paired with %s", address(device))

    # --- what phones write ------------------------------------------------------------------------------------------

    def _write(self, what: Write, data: bytes, device: str) -> None:
        """Raises DBusError: the phone's answer."""
        if not self._pairing.listens_to(device):
            raise DBusError("org.bluez.Error.NotAuthorized", "it has not paired while that was allowed")
        try:
            if what == "acknowledge":
                self._acknowledge(read_token(data), address(device))
            else:
                self._take_time(read_current_time(data))
        except ValueError as error:
            raise DBusError("org.bluez.Error.InvalidValueLength", str(error)) from None

    def _acknowledge(self, token: Token, phone: str) -> None:
        seen = next((e for e in self._view.alarms if e.occurrence == token.occurrence), None)
        if seen is None or self._desk.command is None:
            raise refused(NO_ALARM)
        reply = self._desk.command(
            seen.device,
            Acknowledge(
                correlation_id=f"{phone}-{token.occurrence}-{token.revision}-{token.severity}",
                action="acknowledge",
                rule=seen.rule,
                channel=seen.channel,
                occurrence=token.occurrence,
                revision=max(seen.revision - (seen.revision - token.revision) % REVISIONS, 0),
                severity=SEVERITIES[token.severity - 1],
                by=f"{phone}@bluetooth",
            ),
        )
        if reply.status != "done":
            raise refused(REFUSED)

    def _take_time(self, time: datetime) -> None:
        """The phone's local time, in the time zone of this computer."""
        why = "never" if self._set_clock is None else self._set_clock(time.timestamp())
        if why is not None:
            log.info("a phone's time was not taken: %s", why)
            raise refused(CLOCK_SET)


async def _ended(bus: MessageBus) -> None:
    """Cancelled at most once in a connection's life: that cancels what the library itself waits for."""
    with suppress(Exception):  # whatever it is, it has ended
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


def _shape(services: Sequence[Service]) -> list[str]:
    return [f"{s.uuid} {c.uuid} {c.about}" for s in services for c in s.characteristics]
