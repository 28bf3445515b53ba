"""Start and end of a process: exit codes, signals, what is said."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from services.bus.errors import ConfigError, PayloadError
from services.bus.lifecycle import run

async def serve(stop):
    print("ready", flush=True)
    await stop.wait()
    print("stopping", flush=True)

async def misconfigured(stop):
    raise ConfigError("emberwatch.yaml", "bus.node", "no such name")

async def in_a_group(stop):
    async def fail():
        raise PayloadError("a/b", "bad")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
        tasks.create_task(asyncio.sleep(60))

async def bug(stop):
    raise ZeroDivisionError("a bug")

sys.exit(run(globals()[sys.argv[1]], "alert"))
"""


def start(what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: int) -> None:
    with start("serve") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "stopping\n", "")


@pytest.mark.parametrize(
    ("what", "line"),
    [("misconfigured", "alert: emberwatch.yaml: bus.node: no such name\n"), ("in_a_group", "alert: a/b: bad\n")],
)
def test_a_named_error_is_one_line_and_exit_code_2(what: str, line: str) -> None:
    with start(what) as process:
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (2, line)


def test_a_bug_keeps_its_traceback() -> None:
    with start("bug") as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" in error
    assert "ZeroDivisionError: a bug" in error
