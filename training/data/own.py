"""A user's own recordings: files that the sensor can replay, or what the server has stored."""

import asyncio
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np

from services.bus.messages import Layout
from services.bus.profiles import slots
from services.inference.channels import BAD_QUALITY
from services.sensor.column_map import ColumnMap
from services.sensor.recorded import Recording
from training.data.errors import DataError
from training.data.recordings import measured, read_recording
from training.data.runs import UNKNOWN, Floats, Run, Times, battery

SOURCE: Final = "own"
GAP_S: Final = 3600.0  # a longer silence begins another run
BATCH: Final = 5000  # rows fetched at a time
ALWAYS: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def load(path: Path, column_map: ColumnMap | None = None, label: int = UNKNOWN, fault: str = "") -> Iterator[Run]:
    """Read a recording, or each recording (.parquet, .csv) of a folder; `group` and `unit` are the file's name.

    Args:
        column_map: how the columns are called, and their units (services/sensor/column_map.py); None = whatever shipped
            map fits.
        label: of all of it, as only its owner can say: 0 healthy, 1 faulty.
    Raises:
        SourceError: the file cannot be read; names column and row.
        DataError: its numbers cannot be in the map's units (a pack in kilovolts); names channel and row.
    """
    files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in (".parquet", ".csv"))
    if not files:
        raise DataError(path, "recordings", "no .parquet and no .csv")
    for file in files:
        time, channels = read_recording(Recording(file, column_map))
        for first, end in _stretches(time):
            part = measured({name: values[first:end] for name, values in channels.items()})
            if part:
                yield Run(SOURCE, file.stem, file.stem, label, time[first:end], part, fault=fault)


def _stretches(time: Times) -> list[tuple[int, int]]:
    cuts = [0, *(np.nonzero(np.diff(time) > GAP_S)[0] + 1).tolist(), len(time)]
    return list(pairwise(cuts))


@dataclass(frozen=True, slots=True)
class Devices:
    """Which of the server's devices, and which time of them (None = all)."""

    node: str | None = None
    device: str | None = None
    start: datetime | None = None
    end: datetime | None = None


STREAMS: Final = """
SELECT id, node, device, boot FROM stream
WHERE kind = 'telemetry' AND name = $1 AND ($2::text IS NULL OR node = $2) AND ($3::text IS NULL OR device = $3)
ORDER BY node, device, first_ts, id"""
SAMPLES: Final = """
SELECT layout, ts, seq, channels, quality::text AS quality FROM sample
WHERE stream = $1 AND ts >= $2 AND ts < $3 AND (ts, seq) > ($4, $5) ORDER BY ts, seq LIMIT $6"""
LAYOUTS: Final = "SELECT id, profile, version, hash, period_s, channels FROM layout WHERE profile = $1"


def load_database(url: str, devices: Devices, label: int = UNKNOWN, fault: str = "") -> Iterator[Run]:
    """Read what the server has stored, in the order of node, device and time.

    A process start of a sensor, a change of layout and a silence of more than an hour each begin a Run; `group` and
    `unit` are node and device. One Run is in memory at a time.

    Args:
        url: postgresql://user:password@host:port/database; a role that may only read is enough.
    Raises:
        DataError: no such server, table or device; a sample that does not fit its layout.
    """
    with asyncio.Runner() as runner:
        try:
            connection = runner.run(asyncpg.connect(url))
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DataError("database", "readable", str(error) or type(error).__name__) from None
        try:
            yield from _stored(runner, connection, devices, label, fault)
        except asyncpg.PostgresError as error:
            raise DataError("database", "readable", str(error)) from None
        finally:
            runner.run(connection.close())


def _stored(runner: asyncio.Runner, connection: Any, devices: Devices, label: int, fault: str) -> Iterator[Run]:
    known = runner.run(connection.fetch(LAYOUTS, battery().name))
    layouts = {row["id"]: _Places.of(row) for row in known}
    streams = runner.run(connection.fetch(STREAMS, battery().name, devices.node, devices.device))
    if not streams:
        raise DataError("database", "devices", f"no telemetry of {devices}")
    for stream in streams:
        unit = f"{stream['node']}/{stream['device']}"
        where = f"database, {unit}, boot {stream['boot']}"
        held: list[_Part] = []
        for part in _parts(runner, connection, stream["id"], devices, layouts, where):
            if held and (part.layout != held[-1].layout or part.time[0] - held[-1].time[-1] > GAP_S):
                yield from _run(held, layouts, unit, label, fault)
                held = []
            held.append(part)
        if held:
            yield from _run(held, layouts, unit, label, fault)


@dataclass(frozen=True, slots=True)
class _Places:
    """What the places of a stored sample mean."""

    layout: Layout
    names: list[str]
    of_name: dict[str, list[int]]  # `cell_voltages` -> all of its places, `cell_voltages[3]` -> one

    @classmethod
    def of(cls, row: Any) -> "_Places":
        fields = dict(row) | {"channels": json.loads(row["channels"])}
        del fields["id"]
        layout = Layout.model_validate(fields)
        names = slots(layout)
        of_name: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            for key in {name, name.partition("[")[0]}:
                of_name.setdefault(key, []).append(at)
        return cls(layout, names, of_name)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one layout without a long silence in them; `flat` in layout order."""

    layout: int
    time: Times
    flat: Floats


def _parts(
    runner: asyncio.Runner, connection: Any, stream: int, devices: Devices, layouts: Mapping[int, _Places], where: str
) -> Iterator[_Part]:
    begin, end = devices.start or ALWAYS[0], devices.end or ALWAYS[1]
    after = (begin, -1)
    while rows := runner.run(connection.fetch(SAMPLES, stream, begin, end, *after, BATCH)):
        time = np.array([row["ts"].timestamp() for row in rows])
        layout = np.array([row["layout"] for row in rows])
        ends = np.nonzero((np.diff(time) > GAP_S) | (np.diff(layout) != 0))[0] + 1
        for first, stop in pairwise([0, *ends.tolist(), len(rows)]):
            flat = [_judged(row, layouts[row["layout"]], where) for row in rows[first:stop]]
            yield _Part(int(layout[first]), time[first:stop], np.array(flat, dtype=np.float32))
        after = (rows[-1]["ts"], rows[-1]["seq"])


def _judged(row: Any, places: _Places, where: str) -> list[float]:
    """A sample's numbers; NaN for what is null, a fault or out of range."""
    values = [math.nan if value is None else value for value in row["channels"]]
    if len(values) != len(places.names):
        found = f"{len(values)} values, its layout has {len(places.names)}"
        raise DataError(where, "layout", found, f"seq {row['seq']}")
    if row["quality"]:
        for name, mark in json.loads(row["quality"]).items():
            if mark.startswith(BAD_QUALITY):
                for at in places.of_name.get(name, []):
                    values[at] = math.nan
    return values


def _run(parts: Sequence[_Part], layouts: Mapping[int, _Places], unit: str, label: int, fault: str) -> Iterator[Run]:
    """At most one: rows in which nothing was read are none."""
    flat = np.concatenate([part.flat for part in parts])
    channels: dict[str, Floats] = {}
    at = 0
    for channel in layouts[parts[0].layout].layout.channels:
        width = channel.length or 1
        channels[channel.name] = flat[:, at] if channel.length is None else flat[:, at : at + width]
        at += width
    read = measured(channels)
    if read:
        time = np.concatenate([part.time for part in parts])
        yield Run(SOURCE, unit, unit, label, time, read, fault=fault)
