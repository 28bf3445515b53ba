"""Recordings as the sensor reads them: the same columns, units, faults and derived channels, as arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.sensor.readings import MISSING, NAN
from services.sensor.recorded import Recording
from training.data.errors import DataError
from training.data.runs import Floats, Times, battery, check_plausible


def read_recording(recording: Recording) -> tuple[Times, dict[str, Floats]]:
    """Times [s since 1970, not decreasing] and channels as the sensor would publish and a bundle would see them.

    What the sensor marks as a fault or out of range is NaN, and a channel without any reading is left out.

    Raises:
        DataError: the numbers cannot be in the profile's units.
    """
    if recording.profile.name != battery().name:
        raise DataError(recording.path, "profile", f"is of profile {recording.profile.name}, expected {battery().name}")
    said: dict[str, list[Floats]] = {}
    usable: dict[str, list[Any]] = {}
    for _, chunk in recording.readings():
        for name, readings in chunk.items():
            values = readings.values.astype(np.float32)
            values[(readings.codes == NAN) | (readings.codes == MISSING)] = np.nan
            said.setdefault(name, []).append(values)
            usable.setdefault(name, []).append(readings.usable)
    channels = {name: np.concatenate(parts) for name, parts in said.items()}
    check_plausible(str(recording.path), measured(channels))
    for name, values in channels.items():
        values[~np.concatenate(usable[name])] = np.nan
    return recording.times[0] + recording.mono, measured(channels)


def measured(channels: Mapping[str, Floats]) -> dict[str, Floats]:
    """Without the channels that have no reading."""
    return {name: values for name, values in channels.items() if not np.isnan(values).all()}
