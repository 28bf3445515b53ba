"""What stands for BlueZ on a real message bus: it takes registrations and reads what was registered, as bluetoothd
does. The real bluetoothd, with a kernel and phones, is in tests/hardware/test_ble.py."""

import asyncio
from typing import Any

from dbus_fast import DBusError, Message, MessageType, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusByte, DBusDict, DBusObjectPath, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

ADAPTER, PHONE = "/org/bluez/hci0", "/org/bluez/hci0/dev_C0_C1_C2_C3_C4_C5"


class Adapter(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.bluez.Adapter1")
        self.powered = self.pairable = False
        self.alias = "host"
        self.looks = 0  # how often somebody has asked

    @dbus_property()
    def Powered(self) -> DBusBool:
        self.looks += 1
        return self.powered

    @Powered.setter  # type: ignore[no-redef]
    def Powered(self, value: DBusBool) -> None:
        self.powered = value

    @dbus_property()
    def Pairable(self) -> DBusBool:
        return self.pairable

    @Pairable.setter  # type: ignore[no-redef]
    def Pairable(self, value: DBusBool) -> None:
        self.pairable = value

    @dbus_property()
    def PairableTimeout(self) -> DBusUInt32:
        return 0

    @PairableTimeout.setter  # type: ignore[no-redef]
    def PairableTimeout(self, value: DBusUInt32) -> None:
        pass

    @dbus_property()
    def Alias(self) -> DBusStr:
        return self.alias

    @Alias.setter  # type: ignore[no-redef]
    def Alias(self, value: DBusStr) -> None:
        self.alias = value


class Managers(ServiceInterface):
    """GattManager1 and AgentManager1 are alike: they note what was registered."""

    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.GattManager1")
        self._bluez = bluez

    @dbus_method()
    async def RegisterApplication(self, path: DBusObjectPath, options: DBusDict) -> None:
        self._bluez.objects = await self._bluez.ask(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        if not self._bluez.objects:
            raise DBusError("org.bluez.Error.Failed", "No object received")
        self._bluez.application = path

    @dbus_method()
    def UnregisterApplication(self, path: DBusObjectPath) -> None:
        assert path == self._bluez.application
        self._bluez.application = None


class Advertising(ServiceInterface):
    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.LEAdvertisingManager1")
        self._bluez = bluez

    @dbus_property(access=PropertyAccess.READ)
    def SupportedInstances(self) -> DBusByte:
        return self._bluez.rooms - len(self._bluez.advertisements)

    @dbus_property(access=PropertyAccess.READ)
    def ActiveInstances(self) -> DBusByte:
        return len(self._bluez.advertisements)

    @dbus_method()
    async def RegisterAdvertisement(self, path: DBusObjectPath, options: DBusDict) -> None:
        properties = "org.freedesktop.DBus.Properties"
        if self._bluez.phone.connected and not self._bluez.advertises_beside_a_connection:
            raise DBusError("org.bluez.Error.Failed", "Failed to register advertisement")
        told = await self._bluez.ask(path, properties, "GetAll", "s", "org.bluez.LEAdvertisement1")
        self._bluez.advertisements[path] = {name: value.value for name, value in told.items()}
        power = Variant("n", 4)
        await self._bluez.ask(path, properties, "Set", "ssv", "org.bluez.LEAdvertisement1", "TxPower", power)

    @dbus_method()
    def UnregisterAdvertisement(self, path: DBusObjectPath) -> None:
        if self._bluez.advertisements.pop(path, None) is None:
            raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")


class AgentManager(ServiceInterface):
    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.AgentManager1")
        self._bluez = bluez

    @dbus_method()
    def RegisterAgent(self, path: DBusObjectPath, capability: DBusStr) -> None:
        self._bluez.agent = (path, capability)

    @dbus_method()
    def RequestDefaultAgent(self, path: DBusObjectPath) -> None:
        pass


class Phone(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.bluez.Device1")
        self.paired = self.trusted = self.connected = False

    @dbus_property(access=PropertyAccess.READ)
    def Paired(self) -> DBusBool:
        return self.paired

    @dbus_property()
    def Trusted(self) -> DBusBool:
        return self.trusted

    @Trusted.setter  # type: ignore[no-redef]
    def Trusted(self, value: DBusBool) -> None:
        self.trusted = value

    def connect(self, connected: bool = True) -> None:
        self.connected = connected
        self.emit_properties_changed({"Connected": connected})

    @dbus_property(access=PropertyAccess.READ)
    def Connected(self) -> DBusBool:
        return self.connected

    def pair(self) -> None:
        self.paired = True
        self.emit_properties_changed({"Paired": True})


class FakeBluez:
    """Stands for bluetoothd on the message bus; a context manager, so that it can end and start again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.adapter, self.phone = Adapter(), Phone()
        self.rooms = 5
        self.advertises_beside_a_connection = True
        self.application: str | None = None
        self.agent: tuple[str, str] | None = None
        self.advertisements: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self.changed: list[tuple[str, str, Any]] = []  # signals of the application: path, property, value
        self._bus: MessageBus | None = None
        self._peer = ""

    async def __aenter__(self) -> "FakeBluez":
        self._bus = bus = await MessageBus(self._address).connect()
        for path, interface in (
            (ADAPTER, self.adapter),
            (ADAPTER, Managers(self)),
            (ADAPTER, Advertising(self)),
            ("/org/bluez", AgentManager(self)),
            (PHONE, self.phone),
        ):
            bus.export(path, interface)
        bus.add_message_handler(self._message)
        rule = "type='signal',interface='org.freedesktop.DBus.Properties'"
        dbus = "org.freedesktop.DBus"
        add = Message(
            destination=dbus,
            path="/org/freedesktop/DBus",
            interface=dbus,
            member="AddMatch",
            signature="s",
            body=[rule],
        )
        await bus.call(add)
        await bus.request_name("org.bluez")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._bus is not None
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        self.application, self.agent, self.advertisements = None, None, {}

    def _message(self, message: Message) -> None:
        if message.message_type is MessageType.METHOD_CALL and (message.member or "").startswith("Register"):
            self._peer = message.sender or ""
        elif message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
            self.changed += [(message.path or "", name, value.value) for name, value in message.body[1].items()]

    async def ask(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        """Call the application. Raises DBusError as it does."""
        assert self._bus is not None
        question = Message(
            destination=self._peer, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        async with asyncio.timeout(20):
            answer = await self._bus.call(question)
        assert answer is not None
        if answer.message_type is MessageType.ERROR:
            raise DBusError(answer.error_name or "", answer.body[0] if answer.body else "")
        return answer.body[0] if answer.body else None

    def stranger_connects(self) -> None:
        """A phone that was never seen: its object appears with all it has, connected already."""
        assert self._bus is not None
        stranger = Phone()
        stranger.connected = True
        self._bus.export(f"{ADAPTER}/dev_C0_C1_C2_C3_C4_09", stranger)

    # --- what a phone does ------------------------------------------------------------------------------------------

    def path_of(self, uuid: str, about: str = "") -> str:
        """The characteristic's path."""
        kind = "org.bluez.GattCharacteristic1"
        found = [p for p, i in self.objects.items() if kind in i and i[kind]["UUID"].value == uuid]
        assert found, f"no {uuid}"
        return found[0]

    async def read(self, uuid: str, offset: int = 0) -> bytes:
        options = {"device": Variant("o", PHONE), "offset": Variant("q", offset)}
        kind = "org.bluez.GattCharacteristic1"
        return bytes(await self.ask(self.path_of(uuid), kind, "ReadValue", "a{sv}", options))

    async def write(self, uuid: str, data: bytes, **more: Variant) -> None:
        options = {"device": Variant("o", PHONE), **more}
        await self.ask(self.path_of(uuid), "org.bluez.GattCharacteristic1", "WriteValue", "aya{sv}", data, options)

    async def subscribe(self, uuid: str) -> None:
        await self.ask(self.path_of(uuid), "org.bluez.GattCharacteristic1", "StartNotify")

    async def agent_asked(self, member: str, signature: str, *body: Any) -> None:
        assert self.agent is not None
        await self.ask(self.agent[0], "org.bluez.Agent1", member, signature, *body)
