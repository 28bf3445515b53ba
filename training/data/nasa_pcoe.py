"""Ageing of 34 18650 cells, charge and discharge (B. Saha and K. Goebel, NASA Prognostics Data Repository, 2007).

No fault is known of any cell; they were cycled to 70 or 80 % of their capacity, at 4, 24 and 43 degC.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError
from training.data.runs import HEALTHY, Floats, Phase, Run, battery
from training.data.tables import read_columns, segments

SOURCE: Final = "nasa_pcoe"
PHASES: Final[tuple[Phase, ...]] = ("charge", "discharge")
COLUMNS: Final = ("uid", "t_ds", "volt_mV", "current_mA", "temp_0p1C")
META: Final = {
    **dict.fromkeys(("type", "start_time", "battery_id", "Capacity"), "text"),
    "ambient_temperature": "float",
    "uid": "int",
}
NUMBER: Final = re.compile(r"[-+.\de]+")


def load(path: Path) -> Iterator[Run]:
    """Read the set, test by test: all charges, then all discharges.

    Of each Run: `group` and `unit` are the cell (B0005, ..), `time_s` is s since 1970 (the tester's clock, no zone:
    taken as UTC). In `facts`: test (its uid), ambient_degc, and of a discharge capacity_ah. Readings that no 18650 can
    have (8.39 V, -1000 degC) become missing.

    Args:
        path: folder with metadata.csv, charge.parquet, discharge.parquet.
    Raises:
        DataError: a file or column is missing, a test is unknown, a start time cannot be read.
    """
    meta_path = path / "metadata.csv"
    meta = read_columns(meta_path, META)
    row_of = {int(uid): row for row, uid in enumerate(meta["uid"])}
    for phase in PHASES:
        file = path / f"{phase}.parquet"
        columns = read_columns(file, dict.fromkeys(COLUMNS, "int"))
        for first, end in segments(columns["uid"]):
            uid = int(columns["uid"][first])
            row = row_of.get(uid)
            if row is None or meta["type"][row] != phase:
                raise DataError(file, "test", f"uid {uid} is no {phase} of metadata.csv", first)
            cell = str(meta["battery_id"][row])
            facts: dict[str, str | float] = {"test": str(uid), "ambient_degc": float(meta["ambient_temperature"][row])}
            with suppress(ValueError):  # a charge has none, some discharges an empty list
                facts["capacity_ah"] = float(meta["Capacity"][row])
            start = _start(meta_path, row, str(meta["start_time"][row]))
            channels = {
                "voltage": _plausible("cell_voltage_max", columns["volt_mV"][first:end] * 1e-3),
                "current": (columns["current_mA"][first:end] * 1e-3).astype(np.float32),
                "temperature_max": _plausible("temperature_max", columns["temp_0p1C"][first:end] * 1e-1),
            }
            yield Run(
                source=SOURCE,
                group=cell,
                unit=cell,
                label=HEALTHY,
                phase=phase,
                time_s=start + columns["t_ds"][first:end] * 0.1,
                channels={name: values for name, values in channels.items() if not np.isnan(values).all()},
                facts=facts,
            )


def _plausible(channel: str, values: NDArray[np.float64]) -> Floats:
    """Readings outside of the profile's range become missing, as in the inference service."""
    spec = battery().by_name[channel]
    return np.where((values < spec.low) | (values > spec.high), np.nan, values).astype(np.float32)


def _start(path: Path, row: int, text: str) -> float:
    """`[2010. 7. 21. 15. 0. 35.093]`, also with exponents, to s since 1970."""
    try:
        year, month, day, hour, minute, second = (float(number) for number in NUMBER.findall(text))
        begin = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
        return (begin + timedelta(seconds=second)).timestamp()
    except ValueError:
        raise DataError(path, "start_time", f"{text!r} is no time", row) from None
