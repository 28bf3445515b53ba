"""BlueZ as we need it, over D-Bus: one adapter, our registrations there, and whether they still stand."""

import asyncio
from typing import Any, Final

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

BLUEZ: Final = "org.bluez"
DBUS: Final = "org.freedesktop.DBus"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
ADAPTER: Final = "org.bluez.Adapter1"
GATT: Final = "org.bluez.GattManager1"
ADVERTISING: Final = "org.bluez.LEAdvertisingManager1"
DEVICE: Final = "org.bluez.Device1"
CALL_S: Final = 20.0
APPEARS_S: Final = 15.0  # the advertising manager comes some seconds after the power
LOOK_S: Final = 0.25
_REASONS: Final = {
    "org.freedesktop.DBus.Error.ServiceUnknown": "BlueZ does not run",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "BlueZ does not run",
    "org.freedesktop.DBus.Error.AccessDenied": "not allowed to talk to BlueZ (group bluetooth)",
    "org.bluez.Error.Blocked": "the radio is blocked (rfkill unblock bluetooth)",
}


class BluezError(OSError):
    """BlueZ refused, or is not there."""


class Bluez:
    """Args: bus: connected; adapter: `hci0`; news: set when one of the attributes has changed.

    Attributes:
        lost: BlueZ has gone or was started anew: what was registered is forgotten.
        paired: paths of devices that have just paired; take them out.
        connections: how often somebody has connected or gone.
    """

    def __init__(self, bus: MessageBus, adapter: str, news: asyncio.Event) -> None:
        self._bus, self._adapter, self._news = bus, f"/org/bluez/{adapter}", news
        self.lost = False
        self.paired: list[str] = []
        self.connections = 0

    async def watch(self) -> None:
        """Notice from now on when BlueZ comes and goes, and who pairs."""
        self._bus.add_message_handler(self._signal)
        for rule in (
            f"type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'",
            f"type='signal',sender='{BLUEZ}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{DEVICE}'",
            f"type='signal',sender='{BLUEZ}',interface='{OBJECTS}',member='InterfacesAdded'",
        ):
            await self._ask(DBUS, "/org/freedesktop/DBus", DBUS, "AddMatch", "s", rule)

    def _signal(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.body[0] == BLUEZ:
            self.lost = True
            self._news.set()
        elif message.member == "InterfacesAdded":  # a phone that BlueZ has never seen is connected from the beginning
            if DEVICE in message.body[1]:
                self.connections += 1
                self._news.set()
        elif message.member == "PropertiesChanged" and message.body[0] == DEVICE:
            changed = message.body[1]
            if "Connected" in changed:
                self.connections += 1
                self._news.set()
            if "Paired" in changed and changed["Paired"].value and message.path is not None:
                self.paired.append(message.path)
                self._news.set()

    async def power_on(self, name: str) -> None:
        """Raises BluezError: no such adapter, blocked, or one that cannot advertise."""
        objects = await self._ask(BLUEZ, "/", OBJECTS, "GetManagedObjects")
        if ADAPTER not in objects.get(self._adapter, {}):
            raise BluezError(f"no Bluetooth adapter {self._adapter.rsplit('/', 1)[-1]}")
        await self.set(self._adapter, ADAPTER, "Powered", Variant("b", True))
        await self.set(self._adapter, ADAPTER, "Alias", Variant("s", name))
        loop = asyncio.get_running_loop()
        end = loop.time() + APPEARS_S
        while not {GATT, ADVERTISING} <= objects.get(self._adapter, {}).keys():
            if loop.time() > end:
                raise BluezError("the adapter cannot advertise")
            await asyncio.sleep(LOOK_S)
            objects = await self._ask(BLUEZ, "/", OBJECTS, "GetManagedObjects")

    async def pairable(self, allowed: bool) -> None:
        await self.set(self._adapter, ADAPTER, "PairableTimeout", Variant("u", 0))
        await self.set(self._adapter, ADAPTER, "Pairable", Variant("b", allowed))

    async def trust(self, device: str) -> None:
        await self.set(device, DEVICE, "Trusted", Variant("b", True))

    async def register_agent(self, path: str, capability: str) -> None:
        manager = f"{BLUEZ}.AgentManager1"
        await self._ask(BLUEZ, "/org/bluez", manager, "RegisterAgent", "os", path, capability)
        await self._ask(BLUEZ, "/org/bluez", manager, "RequestDefaultAgent", "o", path)

    async def register_application(self, path: str) -> None:
        await self._ask(BLUEZ, self._adapter, GATT, "RegisterApplication", "oa{sv}", path, {})

    async def unregister_application(self, path: str) -> None:
        await self._ask(BLUEZ, self._adapter, GATT, "UnregisterApplication", "o", path)

    async def register_advertisement(self, path: str) -> None:
        await self._ask(BLUEZ, self._adapter, ADVERTISING, "RegisterAdvertisement", "oa{sv}", path, {})

    async def unregister_advertisement(self, path: str) -> None:
        await self._ask(BLUEZ, self._adapter, ADVERTISING, "UnregisterAdvertisement", "o", path)

    async def rooms(self) -> int:
        """How many more advertisements the adapter takes."""
        return int((await self._get(ADVERTISING))["SupportedInstances"].value)

    async def check(self, advertisements: int) -> None:
        """Raises BluezError: what we registered does not stand any more."""
        if not (await self._get(ADAPTER))["Powered"].value:
            raise BluezError("the adapter was switched off")
        if (await self._get(ADVERTISING))["ActiveInstances"].value < advertisements:
            raise BluezError("it does not advertise any more")

    async def trusted(self) -> set[str]:
        """Paths of the devices that are trusted."""
        objects = await self._ask(BLUEZ, "/", OBJECTS, "GetManagedObjects")
        found = {path: interfaces[DEVICE] for path, interfaces in objects.items() if DEVICE in interfaces}
        return {path for path, device in found.items() if device["Trusted"].value and device["Paired"].value}

    async def set(self, path: str, interface: str, name: str, value: Variant) -> None:
        await self._ask(BLUEZ, path, PROPERTIES, "Set", "ssv", interface, name, value)

    async def _get(self, interface: str) -> dict[str, Variant]:
        properties: dict[str, Variant] = await self._ask(BLUEZ, self._adapter, PROPERTIES, "GetAll", "s", interface)
        return properties

    async def _ask(self, to: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        """Call a method; returns its only result. Raises BluezError naming what and why."""
        question = Message(
            destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            async with asyncio.timeout(CALL_S):  # not wait_for: before Python 3.12 it can lose a cancellation
                answer = await self._bus.call(question)
        except TimeoutError:
            raise BluezError(f"{member}: no answer in {CALL_S:.0f} s") from None
        if answer is None or answer.message_type is MessageType.ERROR:
            name = answer.error_name if answer is not None else None
            text = " ".join(str(part) for part in answer.body) if answer is not None else "no answer"
            raise BluezError(_REASONS.get(name or "", f"{member}: {text or name}"))
        return answer.body[0] if answer.body else None
