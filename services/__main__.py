"""The command line behind `./emberwatch`, which answers `help` and unknown verbs itself: one verb a part of the system.

Each verb imports only what it needs, so that a Pi runs `status` without the server's packages.
"""

import argparse
import os
import subprocess
import sys
from importlib import import_module

from services.bus.settings import ROOT

TRAINING = ("train", "evaluate", "study", "report")
PARTS = {  # modules with `add_arguments(parser)` and `main(given)`
    "doctor": "services.doctor.__main__",
    "power": "services.doctor.power",
    "bundle": "services.inference.command",
}
VERBS = ("up", "status", "alarms", "drill", "pair", "test", *PARTS, *TRAINING)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="emberwatch", description="See ./emberwatch help.")
    parser.add_argument("verb", choices=VERBS)
    verb, rest = parser.parse_args(arguments[:1]).verb, arguments[1:]
    if verb == "up":
        settings, up = import_module("services.up.settings"), import_module("services.up.__main__")
        parser = argparse.ArgumentParser(prog="emberwatch up", description=up.__doc__)
        settings.add_arguments(parser)
        return int(up.main(parser.parse_args(rest)))
    if verb in ("status", "alarms", "drill", "pair"):
        console = import_module("services.console.__main__")
        parser = argparse.ArgumentParser(prog=f"emberwatch {verb}", description=console.__doc__)
        console.add_arguments(parser, verb)
        return int(console.main(parser.parse_args(rest), verb))
    if verb == "doctor" and rest[:1] == ["--calibrate"]:
        return int(import_module("services.sensor.pi.calibrate").main(rest[1:]))
    if verb == "doctor" and rest[:1] == ["--bms"]:
        return int(import_module("services.sensor.bms.look").main(rest[1:]))
    if verb in PARTS:
        part = import_module(PARTS[verb])
        parser = argparse.ArgumentParser(prog=f"emberwatch {verb}", description=part.__doc__)
        part.add_arguments(parser)
        return int(part.main(parser.parse_args(rest)))
    if verb == "test":
        return test(rest)
    return int(import_module("training.__main__").main([verb, *rest]))


def test(arguments: list[str]) -> int:
    """Ruff, mypy, pytest with three workers (they mostly wait), the virtual Pi's core; with arguments, pytest alone."""
    if arguments:
        return pytest(*arguments)
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        print("$", *command, flush=True)
        code = subprocess.call([sys.executable, "-m", *command], cwd=ROOT)
        if code:
            return code
    code = pytest("-m", "not rig", "-n", "3", "--no-loadscope-reorder", "--durations", "15")
    return code or virtual_pi()


def virtual_pi() -> int:
    """Its core; `./emberwatch test -m rig -s` is the whole. It lives in real time, on an emulated processor: alone, and
    once more where the computer was too busy for it."""
    its_tests = ("-m", "rig and core", "-s", "tests/hardware")
    if pytest(*its_tests) == 0:
        return 0
    print("The virtual Pi failed: once more, on a fresh one. What fails twice has failed.", flush=True)
    return pytest(*its_tests)


def pytest(*arguments: str) -> int:
    # dozens of processes begin and end, and each would compile our code anew
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
