"""The simulated fleet as labelled runs and windows.

A vehicle is a group and a unit. A run is one charge or drive of `Fleet.steps` steps of 10 s, from its beginning, with
the sensors' errors; label and `fault` are the state at that time: 0 and "" before a fault begins, 1 after. So a vehicle
is faulty when any of its runs is; `size` is the fault's present size (services/sensor/simulated/faults.py has units).

    fleet = read_fleet(path)            # training/simulation/fleet.yaml, or another file of Fleet's fields
    for run in load(path): ..           # with the vectors, too; cut.py cuts them as the service does
    found = windows(fleet)              # the same in seconds: all windows, with COLUMNS
    mileage = found.values[:, 0, found.columns.index("mileage")]
    found.write(file)                   # training.data.windows.read gives it back

`charge` is counted since the run began [Ah], `cell_voltages` the cells' mean [V], `voltage` the pack's [V], `mileage`
in km (constant in a window; for DyAD's head, no input).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from services.inference.channels import ChannelSpec
from training.data.errors import DataError
from training.data.runs import FAULTY, HEALTHY, Floats, Run
from training.data.windows import Windows, join
from training.simulation.fleet import CELLS, NOMINAL_AH, STEP_S, Fleet
from training.simulation.sessions import Recording, record

SOURCE: Final = "simulated"
COLUMNS: Final = (
    "current",
    "charge",
    "soc",
    "voltage",
    "cell_voltages",
    "cell_voltage_max",
    "cell_voltage_min",
    "cell_spread",
    "temperature_max",
    "temperature_min",
    "mileage",
)
WINDOW: Final = 128
STRIDE: Final = 128
SECONDS_PER_HOUR: Final = 3600.0


def read_fleet(path: Path) -> Fleet:
    """Raises DataError naming file and key."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(path, "fleet", " ".join(str(error).split())[:200]) from None
    try:
        return Fleet.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(path, "fleet", first["msg"], ".".join(map(str, first["loc"])) or None) from None


def load(path: Path) -> Iterator[Run]:
    """Runs of the fleet that a YAML file describes, charges first."""
    fleet = read_fleet(path)
    for recording in record(fleet, fleet.vehicles()):
        yield run_of(recording)


def run_of(recording: Recording) -> Run:
    vehicle, session = recording.vehicle, recording.session
    broken = session.grown > 0
    named = vehicle.fault if broken else None
    time = session.start_s + STEP_S * np.arange(len(recording.current), dtype=np.float64)
    facts: dict[str, str | float] = {
        "mileage": vehicle.km_at(session.day),
        "nominal_ah": NOMINAL_AH,
        "chemistry": "ncm",
        "vehicle_faulty": float(vehicle.fault is not None),
        "grown": session.grown,
    }
    if named is not None and named.kind == "sensor_drift":
        facts["sensor"] = named.sensor
    return Run(
        source=SOURCE,
        group=vehicle.name,
        unit=vehicle.name,
        label=FAULTY if broken else HEALTHY,
        time_s=time,
        channels=_channels(recording) | _vectors(recording),
        fault=named.kind if named is not None else "",
        size=named.at(session.grown) if named is not None else float("nan"),
        phase="charge" if session.use == "charge" else "mixed",
        facts=facts,
    )


def windows(fleet: Fleet, stride: int = STRIDE) -> Windows:
    """All windows of `WINDOW` steps, the first beginning with its session.

    Raises:
        DataError: the fleet's sessions are shorter than a window.
    """
    if fleet.steps < WINDOW:
        raise DataError("fleet", "steps", f"{fleet.steps}, a window has {WINDOW}")
    made: list[Windows] = []
    for recording in record(fleet, fleet.vehicles()):
        run, table = run_of(recording), _table(recording)
        firsts = range(0, len(table) - WINDOW + 1, stride)
        n = len(firsts)
        made.append(
            Windows(
                np.stack([table[first : first + WINDOW] for first in firsts]),
                COLUMNS,
                STEP_S,
                source=np.full(n, run.source),
                group=np.full(n, run.group),
                unit=np.full(n, run.unit),
                label=np.full(n, run.label, np.int8),
                fault=np.full(n, run.fault),
                size=np.full(n, run.size, np.float32),
                start_s=run.time_s[list(firsts)],
            )
        )
    return join(made)


def vehicle_labels(labelled: Windows) -> dict[str, int]:
    """Vehicle -> 1 if any of its windows is faulty."""
    found: dict[str, int] = {}
    for group, label in zip(labelled.group.tolist(), labelled.label.tolist(), strict=True):
        found[group] = max(found.get(group, HEALTHY), label)
    return found


def _channels(recording: Recording) -> dict[str, Floats]:
    """Scalars, as the sensor service derives them."""
    cells, probes = recording.cell_voltages, recording.temperatures
    highest, lowest = cells.max(axis=1), cells.min(axis=1)
    return {
        "voltage": recording.voltage,
        "current": recording.current,
        "soc": recording.soc,
        "cell_voltage_max": highest,
        "cell_voltage_min": lowest,
        "cell_spread": highest - lowest,
        "temperature_max": probes.max(axis=1),
        "temperature_min": probes.min(axis=1),
    }


def _vectors(recording: Recording) -> dict[str, Floats]:
    return {"cell_voltages": recording.cell_voltages, "temperatures": recording.temperatures}


def _table(recording: Recording) -> NDArray[np.float32]:
    """(steps, COLUMNS)."""
    channels = _channels(recording)
    moved = np.cumsum(recording.current.astype(np.float64)) * STEP_S / SECONDS_PER_HOUR
    channels["charge"] = moved.astype(np.float32)
    channels["cell_voltages"] = recording.cell_voltages.mean(axis=1)
    mileage = recording.vehicle.km_at(recording.session.day)
    channels["mileage"] = np.full(len(moved), mileage, np.float32)
    return np.stack([channels[name] for name in COLUMNS], axis=1)


def as_channels(windows: Windows, specs: Sequence[ChannelSpec]) -> Windows:
    """A fleet's windows as a bundle with these columns sees them: voltage per cell. DataError names a column."""
    for spec in specs:
        if spec.name not in windows.columns:
            raise DataError("simulated", "columns", f"{spec.name} is missing; there are {', '.join(windows.columns)}")
    values = windows.values[:, :, [windows.columns.index(spec.name) for spec in specs]]
    values[:, :, [i for i, spec in enumerate(specs) if spec.per]] /= CELLS
    return replace(windows, values=values, columns=tuple(spec.name for spec in specs))
