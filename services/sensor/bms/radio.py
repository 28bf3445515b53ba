"""The radio: one scan for all packs that are looked for. BlueZ lets a program scan once, not once a pack."""

import asyncio
import contextlib
import logging
from typing import Final

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak_retry_connector import close_stale_connections_by_address

from services.sensor.bms.faults import PackFailed

log = logging.getLogger(__name__)

LISTEN_S: Final = 10.0  # a BMS advertises each 0.1 to 2 s; some frames are lost
BLUEZ_S: Final = 10.0  # for BlueZ to start or stop a scan
NO_RSSI: Final = -127  # bleak's word for: BlueZ told something of the device, but did not hear it now

Heard = tuple[BLEDevice, AdvertisementData]


class Radio:
    """Args: adapter: `hci0`; None = the first that is powered."""

    def __init__(self, adapter: str | None = None) -> None:
        self._adapter = adapter
        self._sought: dict[str, set[asyncio.Future[Heard]]] = {}
        self._scanner: BleakScanner | None = None
        self._doubtful = False  # the scan has not heard one that was looked for: BlueZ may have lost it
        self._lock = asyncio.Lock()

    async def find(self, address: str) -> Heard:
        """A device as it is heard now. Raises PackFailed: `bluetooth`, `absent`."""
        heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._sought.setdefault(address, set()).add(heard)
        try:
            await self._scan()
            # of a process that was killed: BlueZ keeps its connection, and who is connected does not advertise
            await close_stale_connections_by_address(address)
            async with asyncio.timeout(LISTEN_S):
                return await heard
        except TimeoutError:
            self._doubtful = True
            raise PackFailed("absent") from None
        finally:
            self._sought[address].discard(heard)
            if not self._sought[address]:
                del self._sought[address]
            if not self._sought:
                await self._stop()

    async def listen(self, seconds: float) -> dict[str, Heard]:
        """All that is heard for so long, by address. Raises PackFailed: `bluetooth`."""
        try:
            async with asyncio.timeout(BLUEZ_S + seconds), self._new_scanner() as scanner:
                await asyncio.sleep(seconds)
                found = dict(scanner.discovered_devices_and_advertisement_data)
        except Exception as error:
            raise PackFailed("bluetooth", str(error) or type(error).__name__) from error
        return {address.upper(): heard for address, heard in found.items()}

    def _new_scanner(self) -> BleakScanner:
        return BleakScanner(self._take, bluez={"adapter": self._adapter} if self._adapter else {})

    def _take(self, device: BLEDevice, advertisement: AdvertisementData) -> None:
        if advertisement.rssi == NO_RSSI:
            return
        for heard in self._sought.get(device.address.upper(), ()):
            if not heard.done():
                heard.set_result((device, advertisement))

    async def _scan(self) -> None:
        async with self._lock:
            if self._scanner is not None and not self._doubtful:
                return
            await self._end()
            scanner = self._new_scanner()
            try:
                async with asyncio.timeout(BLUEZ_S):
                    await scanner.start()
            except Exception as error:  # BlueZ's, D-Bus's and bleak's: all mean that there is no radio now
                raise PackFailed("bluetooth", str(error) or type(error).__name__) from error
            self._scanner, self._doubtful = scanner, False

    async def _stop(self) -> None:
        async with self._lock:
            if not self._sought:
                await self._end()

    async def _end(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is not None:
            with contextlib.suppress(Exception):  # BlueZ has gone: so has the scan
                async with asyncio.timeout(BLUEZ_S):
                    await scanner.stop()
