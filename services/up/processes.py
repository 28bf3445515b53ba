"""Child processes that are started, watched, restarted when they die, and stopped in order."""

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

from services.bus.errors import EmberwatchError
from services.bus.lifecycle import EXIT_ERROR
from services.up.plan import Process

log = logging.getLogger(__name__)

RESTART_MAX_S: Final = 2.0
LOG_BYTES: Final = 20 * 2**20
LOG_LOOK_S: Final = 60.0


class ChildError(EmberwatchError):
    """A process cannot run. Names it and its last words."""


class Child:
    """One supervised process; its output goes to a log file.

    Raises:
        ChildError: from `watch`, when it ends with a named error (exit code 2) three times in a row.
    """

    def __init__(self, process: Process, logs: Path) -> None:
        self.plan, self.log = process, logs / f"{process.name}.log"
        self.restarts = 0
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        self._bound_log()
        with self.log.open("ab") as output:
            self._child = await asyncio.create_subprocess_exec(
                *self.plan.command,
                env={**os.environ, **self.plan.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop them in order
                preexec_fn=_die_with_parent,
            )

    async def watch(self) -> None:
        """Restart it whenever it dies, until stopped."""
        pause, refusals = 0.1, 0
        while True:
            assert self._child is not None
            started = time.monotonic()
            code = await self._ended()
            if self._stopping:
                return
            refusals = refusals + 1 if code == EXIT_ERROR else 0
            if refusals == 3 or (refusals and not self.restarts):
                raise ChildError(f"{self.plan.name} cannot run: {self.last_words()} (log: {self.log})")
            log.warning("%s ended (%s), restarting it", self.plan.name, _reason(code))
            pause = 0.1 if time.monotonic() - started > 10 else min(pause * 2, RESTART_MAX_S)
            await asyncio.sleep(pause)
            if self._stopping:
                return
            self.restarts += 1
            await self.start()

    async def _ended(self) -> int:
        """Wait for its end and look after its log meanwhile."""
        assert self._child is not None
        waiting = asyncio.ensure_future(self._child.wait())
        try:
            while not (await asyncio.wait([waiting], timeout=LOG_LOOK_S))[0]:
                await asyncio.to_thread(self._bound_log)
            return waiting.result()
        finally:
            waiting.cancel()

    def _bound_log(self) -> None:
        """Set a long log aside. Copied and cut, since the child has it open (to append: it goes on at the start)."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"

    async def stop(self, timeout_s: float = 15.0) -> None:
        self._stopping = True
        if self._child is None or self._child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._child.wait(), timeout_s)
        except TimeoutError:
            log.warning("%s did not stop within %g s: killed", self.plan.name, timeout_s)
            self._child.kill()
            await self._child.wait()


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    """prctl(2): if `up` is killed, nothing of it stays behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
