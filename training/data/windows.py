"""The one window format: what a net is trained and judged on, whatever the source. Parquet on disk, memory-mapped.

A file holds one row a window; `values` is a list of steps x columns float32, row-major. Row groups are decoded as they
are asked for, so a file may be larger than the memory. Columns, step time and length stand in the file's metadata.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.data.errors import DataError
from training.data.runs import LABELS, Floats, Times

Names = NDArray[np.str_]
FORMAT: Final = 1
KEY: Final = b"emberwatch.windows"
ROW_GROUP: Final = 1024  # windows
TEXTS: Final = ("source", "group", "unit", "fault")


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of equal length, of any number of sources.

    Args:
        values: (n, steps, columns), project units; NaN = missing.
        columns: names; a channel of the profile or a derived one (`charge`).
        step_s: from row to row of a window [s].
        source, group, unit, fault: (n,) text; label: (n,) 0, 1, -1; size: (n,); start_s: (n,), all as in Run.
    Raises:
        DataError: shapes or values that cannot be; names the window and the column.
    """

    values: Floats
    columns: tuple[str, ...]
    step_s: float
    source: Names
    group: Names
    unit: Names
    label: NDArray[np.int8]
    fault: Names
    size: Floats
    start_s: Times

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[2] != len(self.columns) or self.values.dtype != np.float32:
            found = f"{self.values.dtype} {self.values.shape} for {len(self.columns)} columns"
            raise DataError("windows", "shape", f"{found}, expected float32 (windows, steps, columns)")
        if len(set(self.columns)) != len(self.columns) or not self.columns:
            raise DataError("windows", "columns", f"{self.columns} must be distinct names, one at least")
        if not self.step_s > 0 or self.values.shape[1] < 2:
            raise DataError("windows", "steps", f"{self.values.shape[1]} steps of {self.step_s} s")
        for name in (*TEXTS, "label", "size", "start_s"):
            if getattr(self, name).shape != (len(self.values),):
                raise DataError("windows", "ragged", f"{len(getattr(self, name))} of {name} for {len(self)} windows")
        for row in np.nonzero(~np.isin(self.label, LABELS))[0][:1]:
            raise DataError("windows", "label", f"{self.label[row]}, expected one of {LABELS}", int(row))
        for name in ("source", "group", "unit"):
            for row in np.nonzero(getattr(self, name) == "")[0][:1]:
                raise DataError("windows", "identity", f"no {name}", int(row))
        for row in np.nonzero(~np.isfinite(self.start_s))[0][:1]:
            raise DataError("windows", "start", "no time", int(row))
        infinite = np.isinf(self.values).any(axis=1)
        for row, column in np.argwhere(infinite)[:1]:
            raise DataError("windows", "finite", f"{self.columns[column]} is infinite", int(row))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    @property
    def mask(self) -> Floats:
        """1 = measured, 0 = missing; the shape of values."""
        return np.isfinite(self.values).astype(np.float32)

    def filled(self) -> Floats:
        """Values with each missing one held from before it (or, at the beginning, taken from the next); the shape of
        values. A column that is missing in a whole window is 0.
        """
        values = self.values.copy()
        for time in range(1, self.steps):
            np.copyto(values[:, time], values[:, time - 1], where=np.isnan(values[:, time]))
        for time in range(self.steps - 2, -1, -1):
            np.copyto(values[:, time], values[:, time + 1], where=np.isnan(values[:, time]))
        return np.nan_to_num(values, copy=False, nan=0.0)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Windows":
        """Those windows, in that order."""
        fields = {name: getattr(self, name)[keep] for name in (*TEXTS, "label", "size", "start_s")}
        return Windows(self.values[keep], self.columns, self.step_s, **fields)

    def of_groups(self, groups: Sequence[str]) -> "Windows":
        """The windows of one side of a fold (training/data/splits.py)."""
        return self.select(np.isin(self.group, list(groups)))

    def require(self, columns: Sequence[str], steps: int, step_s: float, where: Path | str = "windows") -> "Windows":
        """These columns, in this order, and the last `steps` steps: what a bundle's manifest asks for.

        Raises:
            DataError: a column is missing, or has no reading in a window; the windows are shorter, or of another step.
        """
        absent = [name for name in columns if name not in self.columns]
        if absent:
            raise DataError(where, "columns", f"{absent[0]} is missing; there are {', '.join(self.columns)}")
        if self.steps < steps:
            raise DataError(where, "window", f"{self.steps} steps, the manifest asks for {steps}")
        if abs(self.step_s / step_s - 1) > 1e-6:
            raise DataError(where, "step", f"{self.step_s:g} s, the manifest asks for {step_s:g} s")
        order = [self.columns.index(name) for name in columns]
        values = np.ascontiguousarray(self.values[:, -steps:, order])
        for row, column in np.argwhere(np.isnan(values).all(axis=1))[:1]:
            raise DataError(where, "NaN column", f"{columns[column]} has no reading in the window", int(row))
        fields = {name: getattr(self, name) for name in (*TEXTS, "label", "size")}
        return Windows(
            values,
            tuple(columns),
            self.step_s,
            start_s=self.start_s + (self.steps - steps) * self.step_s,
            **fields,
        )

    def write(self, path: Path) -> None:
        """Write a file, whole or not at all."""
        steps, width = self.steps, len(self.columns)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(self.values.reshape(-1)), steps * width)
        arrays: dict[str, Any] = {name: pa.array(getattr(self, name).tolist(), pa.string()) for name in TEXTS}
        arrays |= {name: pa.array(getattr(self, name)) for name in ("label", "size", "start_s")}
        about = {"format": FORMAT, "columns": self.columns, "steps": steps, "step_s": self.step_s}
        table = pa.table({"values": flat, **arrays}).replace_schema_metadata({KEY: json.dumps(about)})
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            pq.write_table(table, unfinished, row_group_size=ROW_GROUP, compression="zstd", use_dictionary=list(TEXTS))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def read(path: Path) -> Windows:
    """Read a whole file.

    Raises:
        DataError: it is no file of windows, or its content breaks a rule; names file, window and rule.
    """
    return join(list(parts(path)))


def parts(path: Path, row_groups: int = 8) -> Iterator[Windows]:
    """Read a file in pieces of up to `row_groups` x 1,024 windows, in order. Raises as `read`."""
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            about = _about(path, file.schema_arrow)
            groups = range(file.num_row_groups)
            before = 0
            for first in range(0, max(len(groups), 1), row_groups):
                table = file.read_row_groups(list(groups[first : first + row_groups]))
                yield _windows(path, table, about, before)
                before += table.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, "readable", " ".join(str(error).split())[:200]) from None


def join(sets: Sequence[Windows]) -> Windows:
    """Put sets of the same columns, length and step together.

    Raises:
        DataError: they differ, or there is none.
    """
    if not sets:
        raise DataError("windows", "join", "there is no set")
    first = sets[0]
    for other in sets[1:]:
        for what in ("columns", "steps", "step_s"):
            if getattr(other, what) != getattr(first, what):
                raise DataError("windows", "join", f"{what} {getattr(other, what)} and {getattr(first, what)}")
    if len(sets) == 1:
        return first
    fields = {
        name: np.concatenate([getattr(part, name) for part in sets])
        for name in (*TEXTS, "values", "label", "size", "start_s")
    }
    return Windows(columns=first.columns, step_s=first.step_s, **fields)


def _about(path: Path, schema: Any) -> dict[str, Any]:
    try:
        about = json.loads((schema.metadata or {})[KEY])
        if about["format"] != FORMAT:
            raise DataError(path, "format", f"{about['format']}, this version reads {FORMAT}")
        expected = pa.list_(pa.float32(), int(about["steps"]) * len(about["columns"]))
    except (KeyError, ValueError, TypeError):
        raise DataError(path, "format", "no file of windows: its metadata do not say columns and steps") from None
    types = {name: pa.string() for name in TEXTS}
    types |= {"values": expected, "label": pa.int8(), "size": pa.float32(), "start_s": pa.float64()}
    for name, type_ in types.items():
        found = schema.field(name).type if name in schema.names else "missing"
        if found != type_:
            raise DataError(path, "schema", f"{name} is {found}, expected {type_}")
    return dict(about)


def _windows(path: Path, table: Any, about: dict[str, Any], before: int) -> Windows:
    for name in table.column_names:
        if table[name].null_count:
            row = before + table[name].is_null().to_pylist().index(True)
            raise DataError(path, "null", f"{name} has none (missing readings are NaN)", row)
    steps, columns = int(about["steps"]), tuple(about["columns"])
    flat = [np.asarray(chunk.flatten()) for chunk in table["values"].chunks]
    values = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    if len(values) != table.num_rows * steps * len(columns):
        raise DataError(path, "ragged", f"{len(values)} values in {table.num_rows} windows")
    fields: dict[str, Any] = {name: np.array(table[name].to_pylist(), dtype=np.str_) for name in TEXTS}
    fields |= {name: np.array(table[name].to_numpy()) for name in ("label", "size", "start_s")}
    try:
        return Windows(values.reshape(-1, steps, len(columns)), columns, float(about["step_s"]), **fields)
    except DataError as error:
        row = before + error.row if isinstance(error.row, int) else error.row
        raise DataError(path, error.rule, error.reason, row) from None
