"""BlueZ as a program that reads a BMS sees it, played on a real message bus: adapter, scan, devices, GATT.

The objects, properties and signals are those of org.bluez 5.66 (doc/org.bluez.*.rst). What no played BlueZ can show is
the radio and bluetoothd itself.
"""

import asyncio
from typing import Annotated, Final

from dbus_fast import DBusError, PropertyAccess
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
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from tests.sensor.bms.peripherals import Peripheral

ADAPTER: Final = "/org/bluez/hci0"
ADVERTISES_S: Final = 0.05
RESOLVES_S: Final = 0.02  # the objects are announced before
Strings = Annotated[list[str], DBusSignature("as")]
READ: Final = PropertyAccess.READ


class Adapter(ServiceInterface):
    def __init__(self, bluez: "PlayedBluez") -> None:
        super().__init__("org.bluez.Adapter1")
        self._bluez = bluez
        self.powered = True
        self.scanning: asyncio.Task[None] | None = None
        self.scans = 0

    @dbus_property(access=READ)
    def Powered(self) -> DBusBool:
        return self.powered

    @dbus_property(access=READ)
    def Roles(self) -> Strings:
        return ["central", "peripheral"]

    @dbus_method()
    def SetDiscoveryFilter(self, properties: DBusDict) -> None:
        pass

    @dbus_method()
    def StartDiscovery(self) -> None:
        if not self.powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if self.scanning is not None:
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
        self.scans += 1
        self.scanning = asyncio.create_task(self._bluez.air())

    @dbus_method()
    def StopDiscovery(self) -> None:
        if self.scanning is None:
            raise DBusError("org.bluez.Error.Failed", "No discovery started")
        self.scanning.cancel()
        self.scanning = None

    @dbus_method()
    def RemoveDevice(self, device: DBusObjectPath) -> None:
        self._bluez.forget(device)


class Device(ServiceInterface):
    def __init__(self, bluez: "PlayedBluez", peripheral: Peripheral) -> None:
        super().__init__("org.bluez.Device1")
        self._bluez, self.peripheral = bluez, peripheral
        self.path = f"{ADAPTER}/dev_{peripheral.address.replace(':', '_')}"
        self.connected = self.resolved = False
        self.connects = 0
        self.dropped = asyncio.Event()

    @dbus_property(access=READ)
    def Address(self) -> DBusStr:
        return self.peripheral.address

    @dbus_property(access=READ)
    def Name(self) -> DBusStr:
        return self.peripheral.name

    @dbus_property(access=READ)
    def Alias(self) -> DBusStr:
        return self.peripheral.name

    @dbus_property(access=READ)
    def Adapter(self) -> DBusObjectPath:
        return ADAPTER

    @dbus_property(access=READ)
    def UUIDs(self) -> Strings:
        return list(self.peripheral.advertised)

    @dbus_property(access=READ)
    def Paired(self) -> DBusBool:
        return False

    @dbus_property(access=READ)
    def Connected(self) -> DBusBool:
        return self.connected

    @dbus_property(access=READ)
    def ServicesResolved(self) -> DBusBool:
        return self.resolved

    @dbus_property(access=READ)
    def RSSI(self) -> DBusInt16:
        return -60

    @dbus_method()
    async def Connect(self) -> None:
        self.connects += 1
        if self.path in self._bluez.hang:
            await asyncio.Event().wait()
        if self.peripheral not in self._bluez.in_range:
            raise DBusError("org.bluez.Error.Failed", "le-connection-abort-by-remote")
        self.connect()

    @dbus_method()
    def Disconnect(self) -> None:
        self.drop()

    def connect(self) -> None:
        self.connected = True
        self.emit_properties_changed({"Connected": True})
        self._bluez.resolve(self)

    def drop(self) -> None:
        """The connection ends, whoever ended it."""
        if self.connected:
            self.connected = self.resolved = False
            self.dropped.set()
            self.emit_properties_changed({"ServicesResolved": False, "Connected": False})

    def found(self) -> None:
        self.emit_properties_changed({"RSSI": -60})

    def all_found(self) -> None:
        if self.connected:
            self.resolved = True
            self.emit_properties_changed({"ServicesResolved": True})


class Service(ServiceInterface):
    def __init__(self, device: Device) -> None:
        super().__init__("org.bluez.GattService1")
        self._device = device
        self.path = f"{device.path}/service0010"

    @dbus_property(access=READ)
    def UUID(self) -> DBusStr:
        return self._device.peripheral.service

    @dbus_property(access=READ)
    def Primary(self) -> DBusBool:
        return True

    @dbus_property(access=READ)
    def Device(self) -> DBusObjectPath:
        return self._device.path


class Characteristic(ServiceInterface):
    def __init__(self, device: Device, service: Service, number: int) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._device, self._service = device, service
        self.path = f"{service.path}/char{0x11 + 3 * number:04x}"
        self.uuid, self._flags = device.peripheral.characteristics[number]
        self.notifying = False

    @dbus_property(access=READ)
    def UUID(self) -> DBusStr:
        return self.uuid

    @dbus_property(access=READ)
    def Service(self) -> DBusObjectPath:
        return self._service.path

    @dbus_property(access=READ)
    def Flags(self) -> Strings:
        return list(self._flags)

    @dbus_property(access=READ)
    def MTU(self) -> DBusUInt16:
        return 23

    @dbus_property(access=READ)
    def Value(self) -> DBusBytes:
        return b""

    @dbus_method()
    def StartNotify(self) -> None:
        self.notifying = True

    @dbus_method()
    def StopNotify(self) -> None:
        self.notifying = False

    @dbus_method()
    def WriteValue(self, value: DBusBytes, options: DBusDict) -> None:
        if not self._device.connected:
            raise DBusError("org.bluez.Error.Failed", "Not connected")
        if f"write{'' if options['type'].value == 'request' else '-without-response'}" not in self._flags:
            raise DBusError("org.bluez.Error.NotSupported", "Operation is not supported")
        self._device.peripheral.written(bytes(value))

    def tell(self, data: bytes) -> None:
        if self.notifying and self._device.connected:
            self.emit_properties_changed({"Value": data})


class PlayedBluez:
    """bluetoothd on the message bus; a context manager, so that it can end and start again.

    Attributes:
        in_range: who advertises and can be connected.
        hang: paths of devices of which Connect never answers.
        half: at the next connection only the service is found, without its characteristics.
        early: what is found anew is shown after the word that it is all, not before.
    """

    def __init__(self, address: str, *peripherals: Peripheral) -> None:
        self._address = address
        self.in_range = list(peripherals)
        self.hang: set[str] = set()
        self.half = self.early = False
        self.adapter = Adapter(self)
        self.devices: dict[str, Device] = {}
        self._characteristics: dict[str, list[Characteristic]] = {}
        self.bus: MessageBus | None = None

    async def __aenter__(self) -> "PlayedBluez":
        self.bus = await MessageBus(self._address).connect()
        self.bus.export(ADAPTER, self.adapter)
        await self.bus.request_name("org.bluez")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.bus is not None
        if self.adapter.scanning is not None:
            self.adapter.scanning.cancel()
            self.adapter.scanning = None
        self.bus.disconnect()
        await self.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    async def air(self) -> None:
        """While a scan runs: who is in range and not connected is heard."""
        while True:
            for peripheral in self.in_range:
                self._heard(peripheral)
            await asyncio.sleep(ADVERTISES_S)

    def _heard(self, peripheral: Peripheral) -> None:
        assert self.bus is not None
        device = self.devices.get(peripheral.address)
        if device is None:
            device = self.devices[peripheral.address] = Device(self, peripheral)
            self.bus.export(device.path, device)
        elif not device.connected:
            device.found()

    def resolve(self, device: Device) -> None:
        """Services are found: their objects, then the word that these are all."""
        assert self.bus is not None
        peripheral = device.peripheral
        if peripheral.address not in self._characteristics:
            service = Service(device)
            count, self.half = 0 if self.half else len(peripheral.characteristics), False
            made = [Characteristic(device, service, i) for i in range(count)]
            self._characteristics[peripheral.address] = made
            asyncio.get_running_loop().call_later(2 * RESOLVES_S if self.early else 0, self._show, service, made)
        made = self._characteristics[peripheral.address]

        def notify(uuid: str, data: bytes) -> None:
            for characteristic in made:
                if characteristic.uuid == uuid:
                    characteristic.tell(data)

        peripheral.notify = notify
        asyncio.get_running_loop().call_later(RESOLVES_S, device.all_found)

    def _show(self, service: Service, made: list[Characteristic]) -> None:
        assert self.bus is not None
        self.bus.export(service.path, service)
        for characteristic in made:
            self.bus.export(characteristic.path, characteristic)

    def leave(self, peripheral: Peripheral) -> None:
        """Out of range: the connection breaks, and BlueZ forgets the device."""
        assert self.bus is not None
        self.in_range.remove(peripheral)
        self.forget(self.devices[peripheral.address].path)

    def forget(self, path: str) -> None:
        assert self.bus is not None
        (device,) = (device for device in self.devices.values() if device.path == path)
        device.drop()
        address = device.peripheral.address
        for characteristic in self._characteristics.pop(address, []):
            self.bus.unexport(characteristic.path)
        self.bus.unexport(f"{path}/service0010")
        self.bus.unexport(path)
        del self.devices[address]

    def device(self, peripheral: Peripheral) -> Device:
        return self.devices[peripheral.address]
