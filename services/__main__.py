"""The command line behind `./emberwatch`: one verb a part of the system.

Each verb imports only what it needs, so that a Pi runs `status` without the server's packages.
"""

import argparse
import subprocess
import sys
from importlib import import_module

from services.bus.settings import ROOT


def main(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if verb == "up":
        settings, up = import_module("services.up.settings"), import_module("services.up.__main__")
        parser = argparse.ArgumentParser(prog="emberwatch up", description=up.__doc__)
        settings.add_arguments(parser)
        return int(up.main(parser.parse_args(rest)))
    if verb in ("status", "alarms"):
        console = import_module("services.console.__main__")
        parser = argparse.ArgumentParser(prog=f"emberwatch {verb}", description=console.__doc__)
        console.add_arguments(parser, verb)
        return int(console.main(parser.parse_args(rest), verb))
    if verb == "test":
        return test(rest)
    if verb == "train":
        return subprocess.call([sys.executable, "-m", "training", "train", *rest], cwd=ROOT)
    print(
        "emberwatch up [--replay FILE] [--map MAP] [--device NAME] [--speed N|max] [--data DIR] [--until-done] "
        "[--port-base N]\n"
        "                        run the whole system on this machine, on recorded data\n"
        "emberwatch status       services and alarms of the running node\n"
        "emberwatch alarms [ack|shelve|unshelve|reset RULE]\n"
        "                        list the node's alarms, or answer one\n"
        "emberwatch test [..]    check style and types, run all tests (arguments go to pytest)\n"
        "emberwatch train [..]   train the shipped bundle anew",
        file=sys.stdout if verb in ("help", "-h", "--help") else sys.stderr,
    )
    return 0 if verb in ("help", "-h", "--help") else 2


def test(arguments: list[str]) -> int:
    """Ruff, mypy and pytest; with arguments, pytest alone."""
    if not arguments:
        for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
            print("$", *command, flush=True)
            code = subprocess.call([sys.executable, "-m", *command], cwd=ROOT)
            if code:
                return code
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
