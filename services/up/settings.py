"""What `./emberwatch up` may be told."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.bus.errors import ConfigError
from services.bus.settings import ROOT
from services.bus.topics import NODE_DEVICE, check_name

DEMO: Final = ROOT / "services" / "sensor" / "recordings" / "car1.parquet"
DEMO_SPEED: Final = "20"
SIMULATION: Final = ROOT / "services" / "sensor" / "simulated" / "short.yaml"


@dataclass(frozen=True, slots=True)
class UpSettings:
    """`replay`: recording; `simulation`: file of simulated packs, in whose place no recording is replayed; `speed`:
    number or `max`; `data`: folder of databases, journals and logs.
    """

    replay: Path
    map: str | None
    device: str
    speed: str
    data: Path
    until_done: bool
    port_base: int | None
    simulation: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replay", type=Path, metavar="FILE", help="recording (.parquet or .csv); default: a real car")
    parser.add_argument(
        "--map", metavar="MAP", help="column map: a shipped one's name or a YAML file; default: find one"
    )
    parser.add_argument(
        "--source", choices=("recorded", "simulated"), default="recorded", help="where readings come from"
    )
    parser.add_argument(
        "--simulation",
        type=Path,
        metavar="FILE",
        help="packs and faults to simulate (.yaml); default: a short develops",
    )
    parser.add_argument("--device", metavar="NAME", default="pack-1", help="the device's name in topics (pack-1)")
    parser.add_argument("--speed", metavar="N|max", help="times faster than recorded (demo: 20, --replay: 1)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", default=ROOT / "data", help=f"where everything is kept ({ROOT / 'data'})"
    )
    parser.add_argument("--until-done", action="store_true", help="end when all is settled; print a JSON summary")
    parser.add_argument("--port-base", type=int, metavar="N", help="first of six ports; default: free ones from 18800")


def from_arguments(arguments: argparse.Namespace) -> UpSettings:
    """Raises ConfigError naming the option."""
    simulation = _simulation(arguments)
    speed = arguments.speed or ("1" if arguments.replay else DEMO_SPEED)
    try:
        valid = speed == "max" or 0 < float(speed) <= 1e6
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("--speed", speed, "expected a number above 0, or max")
    replay: Path = (arguments.replay or DEMO).absolute()
    try:
        there = replay.is_file()
    except OSError as error:  # a folder above it that we may not enter
        raise ConfigError("--replay", str(replay), error.strerror or str(error)) from None
    if not there:
        raise ConfigError("--replay", str(replay), "no such file")
    try:
        check_name("device", arguments.device)
    except ValueError as error:
        raise ConfigError("--device", arguments.device, str(error)) from None
    if arguments.device == NODE_DEVICE:
        raise ConfigError("--device", arguments.device, "reserved for the node itself")
    base: int | None = arguments.port_base
    if base is not None and not 1024 <= base <= 65_529:
        raise ConfigError("--port-base", str(base), "expected a number from 1024 to 65529")
    return UpSettings(
        replay,
        arguments.map,
        arguments.device,
        speed,
        arguments.data.absolute(),
        arguments.until_done,
        base,
        simulation,
    )


def _simulation(arguments: argparse.Namespace) -> Path | None:
    if arguments.source != "simulated":
        if arguments.simulation is not None:
            raise ConfigError("--simulation", str(arguments.simulation), "belongs to --source simulated")
        return None
    for option in ("replay", "map", "speed", "until_done"):
        if getattr(arguments, option):
            raise ConfigError(
                f"--{option.replace('_', '-')}", "given", "a simulation runs in real time, without an end"
            )
    path: Path = (arguments.simulation or SIMULATION).absolute()
    if not path.is_file():
        raise ConfigError("--simulation", str(path), "no such file")
    return path
