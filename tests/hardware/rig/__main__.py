"""The virtual Pi by hand.

python -m tests.hardware.rig packages: install what is missing of this computer's packages (root).
python -m tests.hardware.rig prepare: fetch and build what it is booted from (root; standard library only).
python -m tests.hardware.rig run COMMAND ..: boot it with the bench plugged in, run the commands, print what they say.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hardware.rig import cache, parts, system


def main(arguments: list[str]) -> int:
    match arguments:
        case ["packages"]:
            return attempt(system.install_host_packages)
        case ["prepare"]:
            return attempt(prepare)
        case ["run", *commands] if commands:
            return run(commands)
    print(__doc__, file=sys.stderr)
    return 2


def prepare() -> None:
    for suite in parts.SUITES.values():
        print(f"virtual Pi: {system.ready(suite)}", flush=True)


def attempt(work: Callable[[], None]) -> int:
    started = time.monotonic()
    try:
        work()
    except cache.NoRig as error:
        print(f"no virtual Pi: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - started:.0f} s")
    return 0


def run(commands: list[str]) -> int:
    from tests.hardware.rig.bench import Bench  # needs the test extra

    code = 0
    with tempfile.TemporaryDirectory(prefix="virtual-pi-") as place, Bench(Path(place)) as bench:
        bench.pi.plug_board()
        for command in commands:
            done = bench.pi.machine.run(command, timeout_s=600, check=False)
            print(f"$ {command}\n{done.out}{done.err}", end="")
            code = done.code or code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
