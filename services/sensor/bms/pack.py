"""One pack: found, connected, read each period, and all over again when something fails. Waits for no other pack."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from bleak.exc import BleakCharacteristicNotFoundError, BleakError
from bleak_retry_connector import clear_cache

from services.sensor.bms.config import Pack
from services.sensor.bms.faults import SENTENCES, PackFailed, Reason
from services.sensor.bms.makes import make_of, open_bms
from services.sensor.bms.mapping import cells_of, device_of, probes_of, read
from services.sensor.bms.radio import Radio
from services.sensor.source import Reading

log = logging.getLogger(__name__)

CONNECT_S: Final = 45.0  # to connect and shake hands; aiobmsble tries several times in it
READ_S: Final = 15.0  # a reading; aiobmsble asks three times within 5 s, of each of some commands
LET_GO_S: Final = 10.0
RETRY_S: Final = (1.0, 15.0)  # a pack that failed is looked for again: first and longest pause


class PackReader:
    """Args: put: takes readings."""

    def __init__(self, name: str, pack: Pack, radio: Radio, put: Callable[[Reading], None]) -> None:
        self._name, self._pack, self._radio, self._put = name, pack, radio, put
        self._channels = tuple(device_of(pack).channels)
        self._reason: Reason | None = None
        self._said = ""
        self._rows = 0
        self._bonded = False

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell(), name=f"bms.{self._name}.faults")
            tasks.create_task(self._read(), name=f"bms.{self._name}")

    async def _tell(self) -> None:
        """While it cannot be read, its rows say why."""
        while True:
            await asyncio.sleep(self._pack.period_s)
            if self._reason is not None:
                self._put_fault(self._reason)

    async def _read(self) -> None:
        pause = RETRY_S[0]
        while True:
            begun, rows, before = time.monotonic(), self._rows, self._reason
            try:
                await self._visit()
            except Exception as error:  # whatever it is: the pack must have its next chance
                self._fail(reason_of(error), error)
                # At first only look again: BlueZ may say that all services are found before it shows them (5.82,
                # github.com/bluez/bluez/issues/1489). Twice: it found but a part of them and would not look again.
                # Clearing its cache makes it forget a bond too.
                if self._reason == before == "wrong_make" and not self._bonded:
                    await clear_cache(self._pack.address)
            if self._rows > rows:
                pause = RETRY_S[0]
            if self._reason is None:  # read, and let go
                await asyncio.sleep(max(begun + self._pack.period_s - time.monotonic(), pause))
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S[1])

    async def _visit(self) -> None:
        """Connect and read until something fails; or once. Raises PackFailed and what bleak and the plugin raise."""
        device, advertisement = await self._radio.find(self._pack.address)
        self._bonded = bool(device.details["props"].get("Paired"))
        bms = await open_bms(self._pack, device, advertisement)
        reading = False
        try:
            async with asyncio.timeout(CONNECT_S) as limit, bms:
                due, reading = time.monotonic(), True
                while True:
                    limit.reschedule(asyncio.get_running_loop().time() + READ_S)
                    await self._update(bms)
                    limit.reschedule(None)
                    if not self._pack.stay_connected:
                        return
                    due = max(due + self._pack.period_s, time.monotonic())
                    await asyncio.sleep(due - time.monotonic())
        except TimeoutError:  # in a handshake it is the plugin's: nobody answers
            raise PackFailed("silent" if reading or not limit.expired() else "connection") from None
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LET_GO_S):
                    await bms.disconnect(reset=True)

    async def _update(self, bms: Any) -> None:
        if not bms.is_connected:  # the plugin would connect anew, and hide it
            raise PackFailed("disconnected")
        try:
            sample = await bms.async_update()
        except (TimeoutError, BleakError):
            if bms.is_connected:
                raise
            raise PackFailed("disconnected") from None
        found = read(sample, self._pack)
        self._reason, self._rows = None, self._rows + 1
        self._put(Reading(self._name, time.monotonic(), found.channels, found.faults))
        said = f"read as {make_of(bms)}: {len(cells_of(sample))} cells, {len(probes_of(sample))} probes on them"
        if sample.get("problem_code"):
            said += f"; it reports a problem, code {sample['problem_code']:#x}"
        if found.faults:
            said += f"; {', '.join(f'{channel} {reason}' for channel, reason in sorted(found.faults.items()))}"
        self._say(logging.WARNING if found.faults or sample.get("problem_code") else logging.INFO, said)

    def _fail(self, reason: Reason, error: Exception) -> None:
        self._reason = reason
        self._put_fault(reason)
        detail = str(error) if isinstance(error, PackFailed) else f"{SENTENCES[reason]}: {error!r}"
        if self._said != detail and reason == "driver":
            log.error("pack %s", self._name, exc_info=error)
        self._say(logging.WARNING, detail)

    def _put_fault(self, reason: Reason) -> None:
        self._put(Reading(self._name, time.monotonic(), {}, dict.fromkeys(self._channels, reason)))

    def _say(self, level: int, text: str) -> None:
        """To the log, when it is news."""
        if text != self._said:
            log.log(level, "pack %s (%s): %s", self._name, self._pack.address, text)
            self._said = text


def reason_of(error: Exception) -> Reason:
    if isinstance(error, PackFailed):
        return error.reason
    if isinstance(error, PermissionError):
        return "secret"
    # plugins raise a plain ConnectionError where they do not find their characteristics
    if isinstance(error, BleakCharacteristicNotFoundError) or type(error) is ConnectionError:
        return "wrong_make"
    if isinstance(error, BleakError | OSError | EOFError):
        return "connection"
    if isinstance(error, ValueError | LookupError):
        return "unreadable"
    return "driver"
