"""Real children: restarted when they die, given up with their last words, gone when their supervisor is."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from services.bus.settings import ROOT
from services.up import processes
from services.up.plan import Process
from services.up.processes import Child, ChildError

LIVE = "import os, signal, time; print('up', os.environ['GREETING'], flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def child(tmp_path: Path, code: str) -> Child:
    return Child(Process("it", (sys.executable, "-c", code), {"GREETING": "hello"}), tmp_path)


@contextlib.asynccontextmanager
async def watched(it: Child) -> AsyncIterator[asyncio.Task[None]]:
    await it.start()
    watching = asyncio.create_task(it.watch())
    try:
        yield watching
    finally:
        await it.stop(5)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 (a process tells nobody)
            await asyncio.sleep(0.01)


async def test_a_killed_child_is_started_again_and_told_the_same(tmp_path: Path) -> None:
    it = child(tmp_path, LIVE)
    async with watched(it):
        for number in (1, 2):
            await until(lambda number=number: it.log.read_text().count("up hello") == number)  # type: ignore[misc]
            pid = it.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda number=number, pid=pid: it.restarts == number and it.pid not in (None, pid))  # type: ignore[misc]
        last = it.pid
    assert last is not None
    assert not psutil.pid_exists(last)
    assert it.pid is None


async def test_a_child_that_fails_at_once_is_started_again_and_again_with_growing_pauses(tmp_path: Path) -> None:
    it = child(tmp_path, "import sys; print('boom', flush=True); sys.exit(1)")
    async with watched(it) as watching:
        began = time.monotonic()
        await until(lambda: it.restarts >= 3)
        assert time.monotonic() - began >= 0.2 + 0.4 + 0.8
        assert not watching.done()


async def test_a_child_that_names_its_error_at_its_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    it = child(tmp_path, "import sys; print('it: port 1 is in use', file=sys.stderr); sys.exit(2)")
    async with watched(it) as watching:
        with pytest.raises(ChildError) as raised:
            await asyncio.wait_for(watching, 20)
    assert str(raised.value) == f"it cannot run: it: port 1 is in use (log: {tmp_path / 'it.log'})"
    assert it.restarts == 0


async def test_one_that_ran_and_was_restarted_may_name_its_error_twice_before_it_is_given_up(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"""
import pathlib, sys, time
marker = pathlib.Path({str(marker)!r})
if marker.exists():
    print("it: no", file=sys.stderr)
    sys.exit(2)
marker.touch()
time.sleep(600)
"""
    it = child(tmp_path, code)
    async with watched(it) as watching:
        await until(marker.exists)
        assert it.pid is not None
        os.kill(it.pid, signal.SIGKILL)
        with pytest.raises(ChildError, match="it cannot run: it: no"):
            await asyncio.wait_for(watching, 20)
    assert it.restarts == 3


async def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    it = child(tmp_path, STUBBORN)
    async with watched(it):
        await until(lambda: "up" in it.log.read_text())
        pid = it.pid
        assert pid is not None
        await it.stop(0.3)
        assert not psutil.pid_exists(pid)


async def test_a_stopped_child_is_not_started_again(tmp_path: Path) -> None:
    it = child(tmp_path, LIVE)
    async with watched(it) as watching:
        await until(lambda: "up" in it.log.read_text())
        await it.stop()
        await asyncio.wait_for(watching, 20)
    assert (it.restarts, it.pid) == (0, None)


async def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    (tmp_path / "it.log").write_text("x" * 11)
    it = child(tmp_path, LIVE)
    async with watched(it):
        await until(lambda: it.log.read_text() == "up hello\n")
    assert (tmp_path / "it.log.1").read_text() == "x" * 11


async def test_a_log_that_grows_long_under_a_running_child_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    monkeypatch.setattr(processes, "LOG_LOOK_S", 0.02)
    go_on = tmp_path / "go on"
    it = child(
        tmp_path,
        f"""
import pathlib, time
print("x" * 20, flush=True)
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.01)
print("more", flush=True)
time.sleep(600)
""",
    )
    async with watched(it):
        await until(lambda: (tmp_path / "it.log.1").exists() and it.log.stat().st_size == 0)
        go_on.touch()
        await until(lambda: it.log.read_text() == "more\n")
    assert (tmp_path / "it.log.1").read_text() == "x" * 20 + "\n"
    assert it.restarts == 0


def test_last_words_of_a_silent_child(tmp_path: Path) -> None:
    assert child(tmp_path, LIVE).last_words() == "it said nothing"


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from services.up.plan import Process
from services.up.processes import Child

async def main():
    it = Child(Process("it", (sys.executable, "-c", "import time; time.sleep(600)"), {}), Path(sys.argv[1]))
    await it.start()
    print(it.pid, flush=True)
    await it.watch()

asyncio.run(main())
"""


def orphan_of_a_killed_supervisor(tmp_path: Path) -> psutil.Process:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        orphan = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
    return orphan


async def test_a_child_does_not_outlive_its_killed_supervisor(tmp_path: Path) -> None:
    orphan = await asyncio.to_thread(orphan_of_a_killed_supervisor, tmp_path)

    def gone() -> bool:
        try:
            return bool(orphan.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await until(gone)
