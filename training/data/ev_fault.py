"""Electric vehicles of BatICM/unsupervised-battery-faults (MIT), one of them with a cell that drifts away.

Nobody has opened these packs: labels are by date and by the BMS's own warnings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.sensor.recorded import Recording
from training.data.errors import DataError
from training.data.recordings import measured, read_recording
from training.data.runs import FAULTY, HEALTHY, UNKNOWN, Floats, Run, Times
from training.data.tables import read_columns

SOURCE: Final = "ev-fault"
WARNING: Final = "BMSWarningInformation"  # 0 none, 1 to 3


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What is known of one recording.

    Args:
        healthy_until: None = to its end.
        faulty_from: None = no fault is known.
        unhealthy: levels of the BMS's warning in which a row is not called healthy.
    """

    file: str
    period_s: float
    healthy_until: datetime | None = None
    faulty_from: datetime | None = None
    unhealthy: tuple[int, ...] = (1, 2, 3)


VEHICLES: Final = {
    "car1": Vehicle("car1.parquet", 1.0),
    # Cell V_82 drifts away from about July 2019; June is in neither span. Its early warnings of levels 2 and 3 are
    # single rows scattered over the days with an ordinary cell spread; those of level 1 come with 0.17 V.
    "car2": Vehicle(
        "car2.parquet", 30.0, datetime(2019, 6, 1, tzinfo=UTC), datetime(2019, 7, 1, tzinfo=UTC), unhealthy=(1,)
    ),
    "car3": Vehicle("car3.parquet", 10.0),
}
DRIFT_V: Final = 0.05  # of V_82 against the pack's median


def load(path: Path) -> Iterator[Run]:
    """Read the vehicles; `group` and `unit` are the vehicle; `doubtful` rows of a healthy one have a BMS warning.

    A vehicle with a fault gives a healthy Run, an unlabelled one of the time in which it may have begun, and a faulty
    one. A vehicle that is not in VEHICLES has no label.

    Args:
        path: folder of *.parquet, or one such file.
    Raises:
        SourceError, DataError: no file, or one that cannot be read; names file and column.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise DataError(path, "vehicles", "no .parquet")
    for file in files:
        vehicle = VEHICLES.get(file.stem)
        time, channels, warned = read_rows(vehicle or Vehicle(file.name, 1.0), file.parent)
        for label, first, end in _spans(vehicle, time):
            yield Run(
                source=SOURCE,
                group=file.stem,
                unit=file.stem,
                label=label,
                fault="cell_drift" if label == FAULTY else "",
                size=DRIFT_V if label == FAULTY else float("nan"),
                time_s=time[first:end],
                channels=measured({name: values[first:end] for name, values in channels.items()}),
                doubtful=warned[first:end] if label == HEALTHY else None,
            )


def read_rows(vehicle: Vehicle, folder: Path) -> tuple[Times, dict[str, Floats], NDArray[np.bool_]]:
    """Times [s since 1970], channels as the sensor publishes them, rows with an `unhealthy` warning.

    Extremes are taken from cells and probes, as the sensor does: the BMS's own lag by up to 50 mV. Probes of car2 and
    car3 are raw bytes, degC + 40 (255 = none): the sensor's column maps tell the two kinds apart.
    """
    path = folder / vehicle.file
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    time, channels = read_recording(Recording(path))
    warned = np.zeros(len(time), dtype=bool)
    if WARNING in pq.read_schema(path).names:
        warned = np.isin(read_columns(path, {WARNING: "int"})[WARNING], vehicle.unhealthy)
    return time, channels, warned


def _spans(vehicle: Vehicle | None, time: Times) -> list[tuple[int, int, int]]:
    """Label, first row, end; without empty ones."""
    rows = len(time)
    if vehicle is None:
        return [(UNKNOWN, 0, rows)]
    until, since = (
        rows if moment is None else int(np.searchsorted(time, moment.timestamp()))
        for moment in (vehicle.healthy_until, vehicle.faulty_from)
    )
    spans = [(HEALTHY, 0, until), (UNKNOWN, until, since), (FAULTY, since, rows)]
    return [span for span in spans if span[1] < span[2]]
