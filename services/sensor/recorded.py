"""A recording as a source: Parquet or CSV with a column map, read in chunks, judged and derived."""

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from services.bus.errors import ConfigError, SourceError
from services.bus.messages import Layout, format_time
from services.bus.profiles import Profile, load_profile
from services.sensor.column_map import ColumnMap, load_map, shipped_maps
from services.sensor.readings import DERIVED, Chunk, Floats, Judge, Readings, derive, rows_of, with_derived

log = logging.getLogger(__name__)

CHUNK_ROWS: Final = 1024
CHECK_ROWS: Final = 2000
YEARS: Final = (2000, 2100)  # of times; the store keeps no others
EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in YEARS)


class Recording:
    """An opened recording.

    Args:
        path: .parquet or .csv.
        column_map: None = the first shipped map that fits columns and content.
    Raises:
        SourceError: the file cannot be read, or no map fits; names the file and the column or row.
    """

    def __init__(self, path: Path, column_map: ColumnMap | None = None) -> None:
        self.path = path
        self._table = _open(path)
        self.rows: int = self._table.num_rows
        if not self.rows:
            raise SourceError(str(path), "holds no rows")
        self.map = column_map or self._fitting_map()
        self._columns = self.map.select(self._table.column_names, str(path))
        self._drop_empty()
        self.profile: Profile = load_profile(self.map.profile)
        for name, columns in self._columns.items():
            channel = self.profile.by_name.get(name)
            if channel is None:
                raise SourceError(str(path), f"the map's channel {name!r} is not in profile {self.profile.name}")
            if (channel.kind == "vector") != (self.map.channels[name].columns is not None):
                raise SourceError(str(path), f"{name}: {columns[0]!r} .. is mapped as scalar and vector mixed up")
        self.times = self._read_times()
        # a recording's steady clock: time since its first row, and never back
        self.mono: Floats = np.maximum.accumulate(self.times - self.times[0])
        self.layout: Layout = self._layout()

    def _fitting_map(self) -> ColumnMap:
        reasons = []
        for name, candidate in shipped_maps().items():
            try:
                columns = candidate.select(self._table.column_names, str(self.path))
                self._check(candidate, columns)
            except SourceError as error:
                reasons.append(f"{name}: {error.reason}")
            else:
                return candidate
        raise SourceError(str(self.path), "fits no shipped map, give one with --map. " + "; ".join(reasons))

    def _drop_empty(self) -> None:
        """An element that never has a reading is a probe that the device does not have: not in the layout."""
        for name, columns in list(self._columns.items()):
            missing = self.map.channels[name].missing
            kept = [c for c in columns if not self._is_empty(c, missing)]
            if len(kept) < len(columns):
                log.info(
                    "%s: %s: %d of %d never read anything", self.path, name, len(columns) - len(kept), len(columns)
                )
            if kept:
                self._columns[name] = kept
            else:
                del self._columns[name]
        if not self._columns:
            raise SourceError(str(self.path), "no column of the map holds a reading")

    def _is_empty(self, column: str, missing: tuple[float, ...]) -> bool:
        values = self._numbers(self._table.column(column), column)
        return bool((np.isnan(values) | np.isin(values, missing)).all())

    def _check(self, candidate: ColumnMap, columns: dict[str, list[str]]) -> None:
        check = candidate.check
        if check is None or check.channel not in columns:
            return
        if check.against not in columns:
            needed = candidate.channels[check.against].column
            raise SourceError(str(self.path), f"the unit of {check.channel} cannot be told without column {needed!r}")
        some = self._table.take(np.linspace(0, self.rows - 1, min(self.rows, CHECK_ROWS)).astype(np.int64))
        profile = load_profile(candidate.profile)
        mono = np.arange(len(some), dtype=np.float64)
        vector, scalar = (
            self._judge(candidate, profile, name)(self._raw(some, columns[name], name), mono)
            for name in (check.channel, check.against)
        )
        with np.errstate(all="ignore"):
            high = np.where(vector.usable, vector.values, -np.inf).max(axis=1)
            apart = np.abs(high - scalar.values)[np.isfinite(high) & scalar.usable]
        if not len(apart) or np.median(apart) > check.within:
            typical = f"{np.median(apart):.1f}" if len(apart) else "no reading"
            raise SourceError(
                str(self.path), f"{check.channel} and {check.against} differ by {typical}, expected <= {check.within}"
            )

    @staticmethod
    def _judge(column_map: ColumnMap, profile: Profile, name: str) -> Judge:
        column = column_map.channels[name]
        return Judge(profile.by_name[name], column.missing, column.scale, column.offset)

    def _raw(self, table: pa.Table, columns: list[str], name: str) -> Floats:
        arrays = [self._numbers(table.column(c), c) for c in columns]
        return np.column_stack(arrays) if self._vector(name) else arrays[0]

    def _vector(self, name: str) -> bool:
        return any(name == vector for vector, _ in DERIVED.values())

    def _numbers(self, column: pa.ChunkedArray, name: str) -> Floats:
        try:
            return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
        except pa.ArrowException:
            cells = enumerate(column.to_pylist(), 1)
            row, cell = next(((row, cell) for row, cell in cells if not _is_number(cell)), (1, column.type))
            raise SourceError(str(self.path), f"column {name!r}, row {row}: {str(cell)[:80]!r} is no number") from None

    def _read_times(self) -> Floats:
        name = self.map.time.column
        column = self._table.column(name).combine_chunks()
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise SourceError(str(self.path), f"column {name!r} (time), row {row + 1}: empty")
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            times = np.array([self._parse_time(text, row) for row, text in enumerate(column.to_pylist(), 1)])
        elif pa.types.is_temporal(column.type):
            microseconds = pa.timestamp("us", tz=getattr(column.type, "tz", None))
            try:
                times = column.cast(microseconds, safe=False).cast(pa.int64()).to_numpy() / 1e6
            except pa.ArrowException:
                raise SourceError(str(self.path), f"column {name!r} (time): {column.type} is no time") from None
        else:
            times = self._numbers(pa.chunked_array([column]), name)
        bad = np.nonzero(~((times >= EARLIEST) & (times < LATEST)))[0]
        if len(bad):
            time, (first, last) = times[bad[0]], YEARS
            shown = format_time(datetime.fromtimestamp(time, UTC)) if 0 <= time < 253e9 else f"{time:g} s since 1970"
            raise SourceError(
                str(self.path),
                f"column {name!r} (time), row {bad[0] + 1}: {shown} is not between {first} and {last}: "
                "a clock that was not set? Give these rows their time, or remove them",
            )
        return times

    def _parse_time(self, text: str, row: int) -> float:
        """ISO 8601 (without a zone: UTC) or seconds since 1970."""
        try:
            if _is_number(text):
                return float(text)
            time = datetime.fromisoformat(text)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            reason = f"{text[:80]!r} is no time"
            raise SourceError(str(self.path), f"column {self.map.time.column!r} (time), row {row}: {reason}") from None

    def _layout(self) -> Layout:
        present: dict[str, int | None] = {}
        for name, columns in self._columns.items():
            present[name] = len(columns) if self.profile.by_name[name].kind == "vector" else None
        steps = np.diff(self.times)
        steps = steps[steps > 0]
        period = round(float(np.median(steps)), 3) if len(steps) else self.profile.period_s
        return self.profile.layout(with_derived(present, self.profile), max(period, 0.001))

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """The rows from `first` on. What a row's quality is does not depend on where reading starts."""
        for at, judged in self.readings(first):
            rows = rows_of(judged)
            end, skip = at + len(rows), max(0, first - at)
            yield Chunk(
                at + skip, self.times[at + skip : end].tolist(), self.mono[at + skip : end].tolist(), rows[skip:]
            )

    def readings(self, first: int = 0) -> Iterator[tuple[int, dict[str, Readings]]]:
        """The same as columns: the chunks of rows that end after `first`, with the first row of each; layout order."""
        judges = {name: self._judge(self.map, self.profile, name) for name in self._columns}
        order = [channel.name for channel in self.layout.channels]
        doubtful: dict[str, int] = {}
        for at in range(0, self.rows, CHUNK_ROWS):
            end = min(at + CHUNK_ROWS, self.rows)
            # of rows that are not wanted only what tells a jump from a trend matters
            wanted = [n for n, judge in judges.items() if end > first or judge.channel.jump is not None]
            part, mono = self._table.slice(at, end - at), self.mono[at:end]
            judged = {name: judges[name](self._raw(part, self._columns[name], name), mono) for name in wanted}
            derive(judged, self.profile, doubtful)
            if end > first:
                yield at, {name: judged[name] for name in order}

    def identity(self, *context: str, number: int = 0) -> str:
        """Names this recording, map and context (node, device): 16 hex digits; the same again is the same replay.

        Args:
            number: replays before it that were played to their end and are not to be taken for this one.
        """
        digest = self._content.copy()
        digest.update("\0".join([*context, *([str(number)] if number else [])]).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def _content(self) -> "hashlib._Hash":
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        digest.update(self.map.model_dump_json().encode())
        return digest


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return cell is None
    return True


def _open(path: Path) -> Any:
    try:
        match path.suffix.lower():
            case ".parquet":
                with path.open("rb") as file:  # given a name, pyarrow would read a folder, too
                    table = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)  # memory before speed
            case ".csv":
                table = pa_csv.read_csv(path)
            case suffix:
                raise SourceError(str(path), f"{suffix or 'no suffix'}: a recording is .parquet or .csv")
        table.column_names  # noqa: B018 (decodes them)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(str(path), " ".join(str(error).split())[:300]) from None
    return table


def open_recording(path: Path, map_name: str | None) -> Recording:
    """Open a recording with a shipped map's name, a map's file, or (None) whatever shipped map fits."""
    if map_name is None:
        return Recording(path)
    shipped = shipped_maps()
    if map_name in shipped:
        return Recording(path, shipped[map_name])
    if not Path(map_name).exists():
        raise ConfigError("--map", map_name, f"no such file, and no shipped map ({', '.join(shipped)})")
    return Recording(path, load_map(Path(map_name)))
