"""Columns of a Parquet or CSV file as arrays, or an error that names file, column and row."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.data.errors import DataError

TYPES: Final = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}


def read_columns(path: Path, columns: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Read columns of a file.

    Args:
        columns: name -> "int", "float" or "text"; what else is in the file is not read.
    Raises:
        DataError: no such file, or not of its suffix's kind; a column is missing, has an empty cell or another type.
    """
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path, memory_map=True) as file:
                names = file.schema_arrow.names
                table = file.read([name for name in columns if name in names])
        else:
            # every column as text at first: pyarrow would guess types from the first rows
            names = pa_csv.open_csv(path).schema.names
            types = dict.fromkeys(columns, pa.string())
            table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(path, "readable", " ".join(str(error).split())[:200]) from None
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(path, "columns", f"{missing[0]!r} is missing; there are {', '.join(names[:20])}")
    return {name: _array(path, name, table[name], type_) for name, type_ in columns.items()}


def _array(path: Path, name: str, column: Any, type_: str) -> NDArray[Any]:
    try:
        cast = column.cast(TYPES[type_])
    except pa.ArrowException as error:
        raise DataError(path, "type", f"{name}: {' '.join(str(error).split())[:120]}") from None
    if cast.null_count:
        raise DataError(path, "null", f"{name} is empty", cast.is_null().to_pylist().index(True))
    if type_ == "text":
        return np.array(cast.to_pylist(), dtype=np.str_)
    return np.asarray(cast.to_numpy())


def segments(*keys: NDArray[Any]) -> list[tuple[int, int]]:
    """Bounds (first, end) of the stretches of rows in which no key changes."""
    rows = len(keys[0])
    if not rows:
        return []
    changed = np.zeros(rows - 1, dtype=bool)
    for key in keys:
        changed |= key[1:] != key[:-1]
    bounds = [0, *(np.nonzero(changed)[0] + 1).tolist(), rows]
    return list(pairwise(bounds))
