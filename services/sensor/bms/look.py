"""`./emberwatch doctor --bms`: which packs are in range, read once each, as the file of the `bms` source.

A pack that is connected to somebody else, the sensor service too, does not advertise: stop it, or close the app, first.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.bus.errors import ConfigError
from services.sensor.bms import makes
from services.sensor.bms.config import SCALARS, Pack
from services.sensor.bms.faults import SENTENCES, PackFailed
from services.sensor.bms.mapping import cells_of, probes_of, read
from services.sensor.bms.source import check_python

SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A pack in range. Args: sample: what it said; why: it said nothing, or what is in doubt."""

    address: str
    name: str
    rssi: int
    make: str
    sample: Mapping[str, Any] | None
    why: str = ""


async def look(seconds: float, adapter: str | None) -> tuple[list[Seen], int]:
    """The packs, and how many devices were heard. Raises PackFailed: `bluetooth`."""
    from services.sensor.bms.radio import Radio  # needs bleak

    radio = Radio(adapter)
    heard = await radio.listen(seconds)
    seen = []
    for address, (device, advertisement) in sorted(heard.items()):
        found = await makes.identify(advertisement, address)
        if not found:
            continue
        name = advertisement.local_name or device.name or ""
        sample, why = await _read(Pack(address=address, make=found[0], cells=0, probes=0), radio)
        if len(found) > 1:
            why = f"it may be {', '.join(found)}; read as the first. {why}"
        seen.append(Seen(address, name, advertisement.rssi, found[0], sample, why))
    return seen, len(heard)


async def _read(pack: Pack, radio: Any) -> tuple[Mapping[str, Any] | None, str]:
    from services.sensor.bms.pack import CONNECT_S, reason_of

    try:
        bms = await makes.open_bms(pack, *await radio.find(pack.address))
        async with asyncio.timeout(CONNECT_S), bms:
            return await bms.async_update(), ""
    except TimeoutError:
        return None, SENTENCES["silent"]
    except Exception as error:  # the next pack must be read, whatever this one did
        return None, str(error) if isinstance(error, PackFailed) else f"{SENTENCES[reason_of(error)]}: {error!r}"


def report(seen: list[Seen], heard: int, seconds: float) -> Iterator[str]:
    """The file, with what was read as comments."""
    yield f"# {heard} Bluetooth devices heard in {seconds:g} s, {len(seen)} of a make that is known"
    if not seen:
        yield "# Near enough? Switched on? Its app closed on every phone, and the sensor service stopped?"
        yield "# A pack of a known make with an unknown name: write its address and make into the file yourself."
        return
    yield "packs:"
    for number, pack in enumerate(seen, 1):
        yield f"  pack-{number}:  # {pack.name}, {pack.rssi} dBm"
        yield f'    address: "{pack.address}"'
        yield f"    make: {pack.make}"
        if pack.why:
            yield f"    # {'not read: ' if pack.sample is None else ''}{pack.why}"
        if pack.sample is None:
            continue
        told = Pack(address=pack.address, cells=0, probes=0)
        values = {name: value for name, value in read(pack.sample, told).channels.items() if value is not None}
        yield f"    cells: {len(cells_of(pack.sample))}  # {_listed(cells_of(pack.sample))} V"
        yield f"    probes: {len(probes_of(pack.sample))}  # {_listed(probes_of(pack.sample))} degC"
        if len(values) < len(SCALARS):
            yield f"    channels: [{', '.join(values)}]"
        said = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        yield f"    # {said}; current: positive = charging"


def _listed(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="emberwatch doctor --bms", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS, help=f"listen so long ({SECONDS:g})")
    parser.add_argument("--adapter", metavar="hciN", help="which radio; none = the first that is powered")
    given = parser.parse_args(arguments)
    try:
        check_python()
        makes.makes()
        seen, heard = asyncio.run(look(given.seconds, given.adapter))
    except (ConfigError, PackFailed) as error:
        print(f"emberwatch doctor --bms: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"emberwatch doctor --bms: needs {error.name!r}: pip install 'emberwatch[bms]'", file=sys.stderr)
        return 2
    print("\n".join(report(seen, heard, given.seconds)))
    return 0 if any(pack.sample is not None for pack in seen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
