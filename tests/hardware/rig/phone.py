"""The air: the virtual Pi's Bluetooth controller and phones, all played by Bumble on one local link.

The controller speaks HCI (H4) on a stream socket, which the machine has as a serial port: BlueZ and the kernel are the
machine's own. Bumble runs on a thread of its own; every method here waits for its answer and raises TimeoutError.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from bumble import gatt_client, hci
from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, Peer
from bumble.hci import Address
from bumble.host import Host
from bumble.keys import MemoryKeyStore
from bumble.link import LocalLink
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink

PI: Final = "F0:F1:F2:F3:F4:F5"
ATT_S: Final = 30  # Bluetooth Core, volume 3 part F 3.3.3: a request that has no answer by then ends the connection
IoCapability = PairingDelegate.IoCapability
T = TypeVar("T")


class Air:
    """Args: socket: where the machine's serial port waits (`Machine.bluetooth`).

    Attributes:
        patience: all time limits are so many times longer; more than 1 where the machine is slow.
    """

    def __init__(self, socket: Path) -> None:
        self.patience = 1.0
        self._socket = socket
        self._controller: Controller | None = None
        self._transport: Any = None
        self.link: Any = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="air", daemon=True)
        self._thread.start()
        self.wait(self._open(), 10)
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self._close(), 10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run it on Bumble's thread."""

        async def limited() -> T:
            async with asyncio.timeout(timeout_s * self.patience):
                return await work

        return asyncio.run_coroutine_threadsafe(limited(), self._loop).result()

    def phone(self, address: str, *, io: IoCapability = IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT) -> "Phone":
        """Another phone, powered on. Two phones have two addresses (random static: they begin with C..F)."""
        return self.wait(Phone.open(self, address, io), 10)

    async def _open(self) -> None:
        self.link = LocalLink()  # type: ignore[no-untyped-call]
        self._transport = await open_transport(f"unix:{self._socket}")
        source, sink = self._transport.source, self._transport.sink
        self._controller = _PiController("pi", host_source=source, host_sink=sink, link=self.link, public_address=PI)

    async def _close(self) -> None:
        await self._transport.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _PiController(Controller):
    """What Bumble's lacks for a kernel that connects to others.

    Its link sends everything from the random address and finds receivers by it: the machine uses the public one, and
    sets another random one for each scan. And a controller with extended advertising tells of a connection by the
    Enhanced event, for which Linux waits 20 s before it connects to the next (Core 6.0 vol 4 part E 7.7.65.10).
    """

    @property
    def random_address(self) -> Address:
        return Address(f"{PI}/P")

    @random_address.setter
    def random_address(self, address: Address | str) -> None:
        pass

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_LE_Connection_Complete_Event):
            packet = hci.HCI_LE_Enhanced_Connection_Complete_Event(
                status=packet.status,
                connection_handle=packet.connection_handle,
                role=packet.role,
                peer_address_type=packet.peer_address_type,
                peer_address=packet.peer_address,
                local_resolvable_private_address=Address.ANY,
                peer_resolvable_private_address=Address.ANY,
                connection_interval=packet.connection_interval,
                peripheral_latency=packet.peripheral_latency,
                supervision_timeout=packet.supervision_timeout,
                central_clock_accuracy=packet.central_clock_accuracy,
            )
        super().send_hci_packet(packet)


def on_air(air: Air, name: str, address: str) -> tuple[Controller, Device]:
    """A device that is not yet powered, and its controller."""
    controller = Controller(name, link=air.link)
    controller.random_address = Address(address)
    return controller, Device(name, address=Address(address), host=Host(controller, AsyncPipeSink(controller)))


class Phone:
    """A phone.

    Attributes:
        heard: the latest advertisement of each address: raw AD structures.
        numbers: what it was shown to compare in pairing.
        agrees: what its user answers to that; may be exchanged, e.g. for a function that waits for the display.
    """

    def __init__(self, air: Air, device: Device) -> None:
        self.heard: dict[str, bytes] = {}
        self.numbers: list[int] = []
        self.agrees: Callable[[int], bool] = lambda number: True
        self._air = air
        self._device = device
        self._connection: Connection | None = None
        self._peer: Peer | None = None
        self._changed = threading.Condition()
        self._notified: dict[str, list[bytes]] = {}

    @classmethod
    async def open(cls, air: Air, address: str, io: IoCapability) -> "Phone":
        vars(gatt_client)["GATT_REQUEST_TIMEOUT"] = round(ATT_S * air.patience)
        _, device = on_air(air, f"phone {address}", address)
        device.keystore = MemoryKeyStore()
        phone = cls(air, device)
        mitm = io is not IoCapability.NO_OUTPUT_NO_INPUT
        device.pairing_config_factory = lambda _: PairingConfig(
            sc=True, mitm=mitm, bonding=True, delegate=_User(phone, io)
        )
        device.on("advertisement", phone._hear)
        await device.power_on()
        return phone

    def scan(self, wanted: Callable[[bytes], bool], timeout_s: float = 60.0) -> bytes:
        """Listen until an advertisement is as wanted; return it."""
        self.heard.clear()
        self._wait(self._device.start_scanning(filter_duplicates=False), 5)
        try:
            with self._changed:
                heard = self.heard
                limit_s = timeout_s * self._air.patience
                if not self._changed.wait_for(lambda: any(wanted(data) for data in heard.values()), limit_s):
                    raise TimeoutError(f"not heard in {timeout_s} s; heard {self.heard}")
                return next(data for data in self.heard.values() if wanted(data))
        finally:
            self._wait(self._device.stop_scanning(), 5)

    def connect(self, *, encrypt: bool = False, timeout_s: float = 40.0) -> None:
        """To the Pi, with what it offers discovered. A bonded phone encrypts first, as phones do: without that BlueZ
        did not answer its first request for 30 s."""
        self._wait(self._connect(encrypt), timeout_s)

    def disconnect(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # the other side may have been first
                self._wait(self._connection.disconnect(), 10)
            self._connection = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def services(self) -> list[str]:
        """UUIDs of the services found, short where they are short."""
        assert self._peer is not None, "not connected"
        return [service.uuid.to_hex_str() for service in self._peer.services]

    def read(self, uuid: int | str, timeout_s: float = 20.0) -> bytes:
        return bytes(self._wait(self._characteristic(uuid).read_value(), timeout_s))

    def write(self, uuid: int | str, value: bytes, timeout_s: float = 20.0) -> None:
        """With response. Raises bumble's ATT_Error: refused; its `error_code` says why."""
        self._wait(self._characteristic(uuid).write_value(value, with_response=True), timeout_s)

    def subscribe(self, uuid: int | str) -> None:
        """Gather notifications for `notified`."""
        values = self._notified.setdefault(str(uuid), [])

        def take(value: bytes) -> None:
            with self._changed:
                values.append(bytes(value))
                self._changed.notify_all()

        self._wait(self._characteristic(uuid).subscribe(take), 20)

    def notified(self, uuid: int | str, wanted: Callable[[bytes], bool], timeout_s: float = 20.0) -> bytes:
        """The first notification that is as wanted, of those that came and that come."""
        values = self._notified[str(uuid)]
        with self._changed:
            if not self._changed.wait_for(lambda: any(map(wanted, values)), timeout_s * self._air.patience):
                raise TimeoutError(f"not notified in {timeout_s} s; had {[value.hex() for value in values]}")
            return next(value for value in values if wanted(value))

    def pair(self, timeout_s: float = 60.0) -> None:
        """Raises bumble's ProtocolError: refused or failed."""
        assert self._connection is not None, "not connected"
        self._wait(self._connection.pair(), timeout_s)

    @property
    def encrypted(self) -> bool:
        return self._connection is not None and bool(self._connection.encryption)

    async def _connect(self, encrypt: bool) -> None:
        self._connection = await self._device.connect(Address(f"{PI}/P"))
        self._connection.on("disconnection", self._lost)
        if encrypt:
            await self._connection.encrypt()
        self._peer = Peer(self._connection)
        await self._peer.discover_services()
        await self._peer.discover_characteristics()

    def _characteristic(self, uuid: int | str) -> Any:
        assert self._peer is not None, "not connected"
        wanted = UUID.from_16_bits(uuid) if isinstance(uuid, int) else UUID(uuid)
        found = self._peer.get_characteristics_by_uuid(wanted)
        if not found:
            raise LookupError(f"no characteristic {wanted}")
        return found[0]

    def _wait(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        return self._air.wait(work, timeout_s)

    def _hear(self, advertisement: Any) -> None:
        with self._changed:
            self.heard[str(advertisement.address)] = bytes(advertisement.data)
            self._changed.notify_all()

    def _lost(self, *_: object) -> None:
        self._connection = None


class _User(PairingDelegate):
    """The phone's owner."""

    def __init__(self, phone: Phone, io: IoCapability) -> None:
        super().__init__(io)
        self._phone = phone

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self._phone.numbers.append(number)
        return await asyncio.to_thread(self._phone.agrees, number)


def until(look: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.1) -> None:
    """Look until it is so. Raises TimeoutError with `what`."""
    deadline = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {timeout_s} s: {what}")
        time.sleep(every_s)
