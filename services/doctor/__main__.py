"""`./emberwatch doctor`: what is missing for a working monitor on this computer, and how each piece is repaired.

Exit code 0: nothing is missing (warnings may stand). It only looks; a running system is not disturbed.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.markup import escape

from services.bus.clock import time_source
from services.bus.errors import ConfigError
from services.bus.settings import BusSettings, read_yaml
from services.doctor import brokers, chips, machine, packs, software
from services.doctor.check import Check, missing

GATEWAY_PORT: Final = 1884
MARKS: Final = {"good": "[green]good   [/]", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--i2c", type=int, default=1, metavar="BUS", help="number of the I2C bus (1)")


def examine(i2c_bus: int, root: Path = Path("/")) -> Iterator[Check]:
    """All checks, as they are done."""
    yield from machine.look(root, i2c_bus)
    config = os.environ.get("EMBERWATCH_CONFIG")
    path = Path(config) if config else None
    try:
        yield from chips.look(root / f"dev/i2c-{i2c_bus}", _chips(path))
        yield from packs.look(read_yaml(path) if path else None)
        settings = BusSettings.load()
    except ConfigError as error:
        yield missing("settings", str(error.where), str(error), "Correct it; the services do not start with it.")
        return
    yield from software.look(settings, time_source(), path)
    yield from brokers.look(settings, int(os.environ.get("EMBERWATCH_LAN_PORT", GATEWAY_PORT)))


def _chips(config: Path | None) -> Iterator[tuple[str, int]]:
    """Of the services' settings, and of the Pi map that they name."""
    if config is None:
        return
    content = read_yaml(config) or {}
    yield from chips.named(content)
    wiring = content.get("sensor", {}).get("pi") if isinstance(content, dict) else None
    if isinstance(wiring, str):
        yield from chips.named(read_yaml(Path(wiring)))


def main(arguments: argparse.Namespace) -> int:
    found = list(examine(arguments.i2c))
    if arguments.json:
        print(orjson.dumps([asdict(check) for check in found], option=orjson.OPT_INDENT_2).decode())
    else:
        console = Console(soft_wrap=True, highlight=False)
        for line in report(found):
            console.print(line)
    return 1 if any(check.state == "missing" for check in found) else 0


def report(found: list[Check]) -> Iterator[str]:
    """Lines in rich's markup: a heading a group, a line a finding, and below it its repair."""
    group = ""
    for check in found:
        if check.group != group:
            group = check.group
            yield f"[bold]{group}[/]"
        yield f"  {MARKS[check.state]} {escape(f'{check.name:<18} {check.found}')}"
        if check.repair:
            yield escape(f"{'':>11}-> {check.repair}")
    counts = {state: sum(check.state == state for check in found) for state in MARKS}
    yield f"{counts['missing']} missing, {counts['warning']} warnings, {counts['good']} good"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="emberwatch doctor", description=__doc__)
    add_arguments(parser)
    sys.exit(main(parser.parse_args()))
