"""A thing that the Pi finds on the air and connects to: it advertises one service, and answers what it is written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from bumble.core import UUID, AdvertisingData
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from tests.hardware.rig.phone import Air, on_air

PROPERTIES: Final = {
    "read": Characteristic.Properties.READ,
    "write": Characteristic.Properties.WRITE,
    "write-without-response": Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
    "notify": Characteristic.Properties.NOTIFY,
}
FLAGS: Final = bytes([AdvertisingData.LE_GENERAL_DISCOVERABLE_MODE_FLAG | AdvertisingData.BR_EDR_NOT_SUPPORTED_FLAG])


class Peripheral:
    """On the air from `with` to its end, when whoever is connected is sent away.

    Args:
        address: random static: it begins with C..F.
        service: its 16-bit UUID, advertised too.
        characteristics: UUID -> names of PROPERTIES.
        answer: is called on the air's thread with what was written; what it returns is notified, one by one.
        answers_on: UUID of the characteristic that notifies.
    Attributes:
        connects: how often somebody has connected.
    """

    def __init__(
        self,
        air: Air,
        address: str,
        name: str,
        service: int,
        characteristics: Mapping[int, Sequence[str]],
        answer: Callable[[bytes], Iterable[bytes]],
        answers_on: int,
    ) -> None:
        self.connects = 0
        self._air, self._answer = air, answer
        self._address, self._name, self._service = address, name, service
        self._characteristics, self._answers_on = characteristics, answers_on

    def __enter__(self) -> Self:
        self._air.wait(self._begin(), 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._air.wait(self._end(), 10)

    async def _begin(self) -> None:
        self._controller, self._device = on_air(self._air, self._name, self._address)
        offered = [self._offer(uuid, words) for uuid, words in self._characteristics.items()]
        self._notifies = next(one for one in offered if one.uuid == short(self._answers_on))
        self._device.add_service(Service(short(self._service), offered))
        self._device.on("connection", self._connected)
        await self._device.power_on()
        kind = AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
        structures: Any = [
            (AdvertisingData.FLAGS, FLAGS),
            (kind, self._service.to_bytes(2, "little")),
            (AdvertisingData.COMPLETE_LOCAL_NAME, self._name.encode()),
        ]
        await self._device.start_advertising(advertising_data=bytes(AdvertisingData(structures)), auto_restart=True)

    async def _end(self) -> None:
        await self._device.stop_advertising()
        for connection in list(self._device.connections.values()):
            await connection.disconnect()
        await self._device.power_off()
        self._air.link.remove_controller(self._controller)

    def _offer(self, uuid: int, words: Sequence[str]) -> Characteristic[bytes]:
        properties = Characteristic.Properties(0)
        permissions = Characteristic.READABLE
        for word in words:
            properties |= PROPERTIES[word]
            if word.startswith("write"):
                permissions |= Characteristic.WRITEABLE
        value = CharacteristicValue(read=lambda _: b"", write=self._written)
        return Characteristic(short(uuid), properties, permissions, value)

    async def _written(self, _: Connection, data: bytes) -> None:
        for piece in self._answer(bytes(data)):
            await self._device.notify_subscribers(self._notifies, piece)

    def _connected(self, _: Connection) -> None:
        self.connects += 1


def short(uuid: int) -> UUID:
    return UUID.from_16_bits(uuid)
