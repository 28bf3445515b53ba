"""Snippets of charging in the format of EVBattery and DyAD: one pickle a snippet, hundreds of thousands of them.

Source: Zhang et al., Nature Communications 14:5940 (2023), three brands of vehicles. A pickle is a tuple of an array
(128 or 256 rows x columns) and what is known of it: label ('00' normal, '10' faulty), car, charge segment, mileage.
A pickle can run any code when it is read; training/data/pickles.py lets none.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.data.errors import DataError
from training.data.pickles import read_pickle
from training.data.runs import FAULTY, HEALTHY, UNKNOWN, Floats, Run

SOURCE: Final = "evbattery"
COLUMN_FILE: Final = "column.pkl"
COLUMNS: Final = ("volt", "current", "soc", "max_single_volt", "min_single_volt", "max_temp", "min_temp", "timestamp")
"""The order of a brand that comes without a column.pkl."""
CHANNELS: Final[Mapping[str, tuple[str, float]]] = {  # column -> channel, factor
    "volt": ("voltage", 1.0),
    "current": ("current", -1.0),  # negative = charging
    "soc": ("soc", 0.01),
    "max_single_volt": ("cell_voltage_max", 1.0),
    "min_single_volt": ("cell_voltage_min", 1.0),
    "max_temp": ("temperature_max", 1.0),
    "min_temp": ("temperature_min", 1.0),
}
TIME: Final = "timestamp"
LABELS: Final = {"00": HEALTHY, "10": FAULTY, "": UNKNOWN}
ROWS: Final = (128, 256)
NO_CAR: Final = "unknown car"
SOC_RISE: Final = 0.005
FACTS: Final = ("car", "charge_segment", "mileage")
PARTS: Final = frozenset({"train", "test", "data", "label"})  # folders inside a brand's

Refused = Callable[[DataError], None]


def load(path: Path, refused: Refused | None = None) -> Iterator[Run]:
    """Read a brand, or a folder of brands.

    Of each Run: `group` and `unit` are brand and car. A snippet that names no car is of `unknown car` and a unit of its
    own: all of these are one group, so that no split can put one vehicle on both sides. `time_s` is the file's
    timestamp; values are as the file has them, and may be anonymised by scaling. In `facts`: snippet; where the file
    says so car, charge_segment, mileage [km].

    Args:
        path: folder with *.pkl (and column.pkl) at any depth; or a .pkl; or an .npz of arrays data, columns, label,
            mileage.
        refused: told of each snippet that breaks a rule, which is then passed over; None = the first one is raised.
    Raises:
        DataError: naming the file and the rule: a class that a snippet must not name, no array, ragged rows, a column
            without a reading, an unknown label, time that goes back.
    """
    rows: dict[str, int] = {}  # of a brand's first snippet; all of the brand have as many
    some = False
    for file, name, columns, values, about in _snippets(path, refused):
        some = True
        try:
            run = _run(file, name, columns, values, about, rows.get(_brand(file)))
        except DataError as error:
            if refused is None:
                raise
            refused(error)
        else:
            rows.setdefault(_brand(file), len(run))
            yield run
    if not some:
        raise DataError(path, "snippets", "no .pkl and no .npz in it holds one")


Snippet = tuple[Path, str, tuple[str, ...], Any, Mapping[Any, Any]]


def _snippets(path: Path, refused: Refused | None) -> Iterator[Snippet]:
    """File, name of the snippet, columns, array, what is known of it."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in (".pkl", ".npz") and p.name != COLUMN_FILE)
    else:
        raise DataError(path, "readable", "no such file or folder")
    columns: dict[Path, tuple[str, ...]] = {}
    for file in files:
        try:
            if file.suffix == ".npz":
                yield from _archive(file)
                continue
            if file.parent not in columns:
                columns[file.parent] = _columns(file.parent, path)
            content = read_pickle(file)
            if not isinstance(content, (tuple, list)) or len(content) != 2 or not isinstance(content[1], dict):
                raise DataError(file, "snippet", "expected a tuple of an array and a dict")
            yield file, file.stem, columns[file.parent], content[0], content[1]
        except DataError as error:
            if refused is None:
                raise
            refused(error)


def _columns(folder: Path, top: Path) -> tuple[str, ...]:
    """Of the nearest column.pkl, from the snippet's folder up to `top` and the folder around it."""
    for place in (folder, *folder.parents):
        if (place / COLUMN_FILE).exists():
            names = read_pickle(place / COLUMN_FILE)
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise DataError(place / COLUMN_FILE, "columns", "expected a list of names")
            return tuple(names)
        if place == top.parent:
            break
    return COLUMNS


def _archive(file: Path) -> Iterator[Snippet]:
    """Snippets of an .npz of plain arrays."""
    try:
        with np.load(file, allow_pickle=False) as content:
            data, columns = content["data"], tuple(str(name) for name in content["columns"])
            known = {name: content[name] for name in ("label", "mileage", "car") if name in content}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(file, "readable", " ".join(str(error).split())[:200]) from None
    lengths = {name: len(values) for name, values in known.items() if values.shape != (len(data),)}
    if data.ndim != 3 or lengths:
        raise DataError(file, "ragged", f"data is of shape {data.shape}, with {lengths or 'no rows'} of labels")
    for i, values in enumerate(data):
        yield file, f"{file.stem}[{i}]", columns, values, {name: known[name][i].item() for name in known}


def _run(
    file: Path, name: str, columns: tuple[str, ...], values: Any, about: Mapping[Any, Any], rows: int | None
) -> Run:
    table = _table(file, name, columns, values, rows)
    said = about.get("label", "")
    if str(said) not in LABELS:
        raise DataError(file, "label", f"{str(said)[:20]!r}, expected '00' or '10'", name)
    car = about.get("car")
    channels: dict[str, Floats] = {}
    for column, (channel, factor) in CHANNELS.items():
        if column in columns:
            channels[channel] = (table[:, columns.index(column)] * factor).astype(np.float32)
    time = table[:, columns.index(TIME)] if TIME in columns else np.arange(len(table), dtype=np.float64)
    group = f"{_brand(file)}/{NO_CAR if car is None else car}"
    try:
        run = Run(
            source=SOURCE,
            group=group,
            unit=f"{_brand(file)}/{name}" if car is None else group,
            label=LABELS[str(said)],
            fault="fault" if LABELS[str(said)] == FAULTY else "",
            phase="charge",
            time_s=time,
            channels=channels,
            facts={"snippet": name, **{key: _fact(about[key]) for key in FACTS if about.get(key) is not None}},
        )
    except DataError as error:
        raise DataError(
            file, error.rule, error.reason, name if error.row is None else f"{name} row {error.row}"
        ) from None
    _check_sign(file, name, run)
    return run


def _table(file: Path, name: str, columns: tuple[str, ...], values: Any, rows: int | None) -> Any:
    """The snippet as float64 (rows, columns), checked."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise DataError(file, "ragged", f"{kind}, expected an array of numbers", name)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise DataError(file, "ragged", f"shape {values.shape}, expected rows of {len(columns)} columns", name)
    if len(values) not in ROWS or (rows is not None and len(values) != rows):
        expected = " or ".join(map(str, ROWS)) if rows is None else f"{rows} as in the first snippet"
        raise DataError(file, "ragged", f"{len(values)} rows, expected {expected}", name)
    missing = [column for column in ("volt", "current", "soc") if column not in columns]
    if missing:
        raise DataError(file, "columns", f"{missing[0]} is missing; there are {', '.join(columns)}", name)
    table = values.astype(np.float64)
    for column in np.nonzero(np.isnan(table).all(axis=0))[0][:1]:
        raise DataError(file, "NaN column", f"{columns[column]} has no reading in any row", name)
    return table


def _check_sign(file: Path, name: str, run: Run) -> None:
    """Refuse a snippet that charges with a negative current: its file counts the other way round."""
    soc, current = run.channels["soc"], run.channels["current"]
    if float(np.nanmax(soc[-8:]) - np.nanmin(soc[:8])) > SOC_RISE and float(np.nanmean(current)) < 0:
        raise DataError(file, "sign", "charging current is positive in the file, expected negative", name)


def _brand(file: Path) -> str:
    """Name of the brand's folder."""
    return next((p.name for p in file.parents if p.name.lower() not in PARTS and p.name), SOURCE)


def _fact(value: Any) -> str | float:
    return value if isinstance(value, str) else float(value) if np.ndim(value) == 0 else str(value)[:80]
