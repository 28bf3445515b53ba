"""What BlueZ reads of us over D-Bus: services, characteristics, advertisements, the pairing agent. Thin.

Source: BlueZ doc/org.bluez.GattManager.rst, org.bluez.LEAdvertisement.rst, org.bluez.Agent.rst.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, Protocol

from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import (
    DBusBool,
    DBusBytes,
    DBusDict,
    DBusInt16,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
    DBusUInt16,
    DBusUInt32,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from services.alert.outputs.ble.attributes import DESCRIPTION, Characteristic, Service, Write

READ: Final = PropertyAccess.READ
DBusStrings = Annotated[list[str], DBusSignature("as")]
Writer = Callable[[Write, bytes, str], None]
"""(what, bytes, phone's address): raises DBusError as the phone's answer."""
_ADDRESS = re.compile(r"dev((?:_[0-9A-F]{2}){6})$")


def refused(code: int) -> DBusError:
    """An answer with an ATT error of the application's own, 0x80 to 0x9f."""
    return DBusError("org.bluez.Error.Failed", f"{code:#04x}")


def address(device: str) -> str:
    """`C0:C1:..` of a BlueZ device's path."""
    found = _ADDRESS.search(device)
    return found[1][1:].replace("_", ":") if found else "unknown"


def _part(value: bytes, options: dict[str, Variant]) -> bytes:
    """What a read from an offset gives."""
    offset = int(options["offset"].value) if "offset" in options else 0
    if offset > len(value):
        raise DBusError("org.bluez.Error.InvalidOffset", "beyond the end")
    return value[offset:]


class GattService(ServiceInterface):
    def __init__(self, uuid: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid = uuid

    @dbus_property(access=READ)
    def UUID(self) -> DBusStr:
        return self._uuid

    @dbus_property(access=READ)
    def Primary(self) -> DBusBool:
        return True


class GattCharacteristic(ServiceInterface):
    """One characteristic. Its value is set from outside; a subscriber is told of changes."""

    def __init__(self, service: str, what: Characteristic, write: Writer) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._service, self._what, self._write = service, what, write
        self.value = what.value
        self.told = False  # somebody has subscribed

    def set(self, value: bytes | None) -> bool:
        """A new value; returns whether subscribers were told."""
        changed, self.value = value != self.value, value
        if changed and self.told and value is not None:
            self.emit_properties_changed({"Value": value})
            return True
        return False

    @dbus_property(access=READ)
    def UUID(self) -> DBusStr:
        return self._what.uuid

    @dbus_property(access=READ)
    def Service(self) -> DBusObjectPath:
        return self._service

    @dbus_property(access=READ)
    def Flags(self) -> DBusStrings:
        return list(self._what.flags)

    @dbus_property(access=READ)
    def Value(self) -> DBusBytes:
        return self.value or b""

    @dbus_method()
    def ReadValue(self, options: DBusDict) -> DBusBytes:
        if self.value is None:
            raise refused(0x80)  # no value now
        return _part(self.value, options)

    @dbus_method()
    def WriteValue(self, value: DBusBytes, options: DBusDict) -> None:
        if "prepare-authorize" in options and options["prepare-authorize"].value:
            return  # a long write is announced; the whole value follows
        if "offset" in options and options["offset"].value:
            raise DBusError("org.bluez.Error.InvalidOffset", "in one piece")
        if self._what.write is None:
            raise DBusError("org.bluez.Error.NotPermitted", "not to be written")
        self._write(self._what.write, bytes(value), str(options["device"].value) if "device" in options else "")

    @dbus_method()
    def StartNotify(self) -> None:
        self.told = True

    @dbus_method()
    def StopNotify(self) -> None:
        self.told = False


class GattDescriptor(ServiceInterface):
    """Characteristic User Description (2901): which device, which probe."""

    def __init__(self, characteristic: str, about: str) -> None:
        super().__init__("org.bluez.GattDescriptor1")
        self._characteristic, self._about = characteristic, about.encode()

    @dbus_property(access=READ)
    def UUID(self) -> DBusStr:
        return DESCRIPTION

    @dbus_property(access=READ)
    def Characteristic(self) -> DBusObjectPath:
        return self._characteristic

    @dbus_property(access=READ)
    def Flags(self) -> DBusStrings:
        return ["read"]

    @dbus_method()
    def ReadValue(self, options: DBusDict) -> DBusBytes:
        return _part(self._about, options)


class Application:
    """A tree of services, exported below `path`."""

    def __init__(self, bus: MessageBus, path: str, services: Sequence[Service], write: Writer) -> None:
        self.path, self._bus = path, bus
        self._characteristics: list[GattCharacteristic] = []
        self._exported: list[str] = []
        for i, service in enumerate(services):
            place = f"{path}/s{i}"
            self._export(place, GattService(service.uuid))
            for j, what in enumerate(service.characteristics):
                one = GattCharacteristic(place, what, write)
                self._characteristics.append(one)
                self._export(f"{place}/c{j}", one)
                if what.about:
                    self._export(f"{place}/c{j}/d0", GattDescriptor(f"{place}/c{j}", what.about))

    def _export(self, path: str, interface: ServiceInterface) -> None:
        self._bus.export(path, interface)
        self._exported.append(path)

    def update(self, services: Sequence[Service]) -> int:
        """New values of the same tree; returns of how many subscribers were told."""
        values = (what.value for service in services for what in service.characteristics)
        return sum(one.set(value) for one, value in zip(self._characteristics, values, strict=True))

    def withdraw(self) -> None:
        for path in self._exported:
            self._bus.unexport(path)


class Advertisement(ServiceInterface):
    """A connectable one, under the adapter's own address.

    The kernel sends what nobody may connect to under a random address that changes with the content. Home Assistant
    would hear a new device each time, and phones could not pair: Linux 6.1 takes the latest address for that of all.
    """

    def __init__(self, name: str = "", uuids: Sequence[str] = (), data: dict[str, bytes] | None = None) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._name, self._uuids = name, list(uuids)
        self._data = {uuid: Variant("ay", content) for uuid, content in (data or {}).items()}
        self.released = False

    def set(self, uuid: str, content: bytes) -> bool:
        """Other service data; returns whether it is new."""
        if self._data.get(uuid) == (data := Variant("ay", content)):
            return False
        self._data[uuid] = data
        self.emit_properties_changed({"ServiceData": self._data})
        return True

    @dbus_property(access=READ)
    def Type(self) -> DBusStr:
        return "peripheral"

    @dbus_property(access=READ)
    def ServiceUUIDs(self) -> DBusStrings:
        return self._uuids

    @dbus_property(access=READ)
    def ServiceData(self) -> DBusDict:
        return self._data

    @dbus_property(access=READ)
    def LocalName(self) -> DBusStr:
        return self._name

    @dbus_property(access=READ)
    def Includes(self) -> DBusStrings:
        return []

    @dbus_property()
    def TxPower(self) -> DBusInt16:
        """BlueZ writes here what it chose; an object without it makes it log an error."""
        return 0

    @TxPower.setter  # type: ignore[no-redef]
    def TxPower(self, value: DBusInt16) -> None:
        """Not used."""

    @dbus_method()
    def Release(self) -> None:
        self.released = True


class Judge(Protocol):
    """Who decides about a pairing."""

    async def confirm(self, device: str, number: int) -> bool: ...
    def allow(self, device: str) -> bool: ...
    def cancel(self) -> None: ...


class Agent(ServiceInterface):
    """Asks the judge; whatever else a pairing could want is refused."""

    def __init__(self, judge: Judge) -> None:
        super().__init__("org.bluez.Agent1")
        self._judge = judge

    @dbus_method()
    async def RequestConfirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        await _need(self._judge.confirm(device, passkey))

    @dbus_method()
    def RequestAuthorization(self, device: DBusObjectPath) -> None:
        if not self._judge.allow(device):
            raise DBusError("org.bluez.Error.Rejected", "nobody has opened the pairing window")

    @dbus_method()
    def AuthorizeService(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        """Bonded phones may use what there is."""

    @dbus_method()
    def RequestPasskey(self, device: DBusObjectPath) -> DBusUInt32:
        raise DBusError("org.bluez.Error.Rejected", "no keyboard")

    @dbus_method()
    def RequestPinCode(self, device: DBusObjectPath) -> DBusStr:
        raise DBusError("org.bluez.Error.Rejected", "no keyboard")

    @dbus_method()
    def DisplayPasskey(self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16) -> None:
        """A phone with a keyboard only: its number is not shown, so that it cannot pair."""

    @dbus_method()
    def Cancel(self) -> None:
        self._judge.cancel()

    @dbus_method()
    def Release(self) -> None:
        self._judge.cancel()


async def _need(agreed: Awaitable[bool]) -> None:
    if not await agreed:
        raise DBusError("org.bluez.Error.Rejected", "not confirmed at the node")
