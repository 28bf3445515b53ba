"""Two-point calibration: what a channel read and what was true, twice, make a straight line. Pure but for its file."""

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from services.bus.errors import ConfigError, EmberwatchError
from services.bus.settings import read_yaml
from services.sensor.pi.map import Analog, Meter, PiMap, Thermometer

GAIN_LIMITS: Final = (0.8, 1.25)  # resistors and shunts are within a few per cent: more is a wrong value in the map
LEAST_APART: Final = 0.05  # of the greater true value: nearer points make a steep guess of noise


class CalibrationError(EmberwatchError):
    """Points of which no calibration can be made; says why."""


class Calibration(BaseModel):
    """true = read * gain + offset, in the channel's unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gain: float = Field(1.0, gt=0)
    offset: float = 0.0
    points: tuple[tuple[float, float], ...] = Field((), description="(read, true), as measured.")
    wiring: str = Field(description="Digest of the channel's entry in the map that it was made with.")
    at: AwareDatetime

    def __call__(self, value: float) -> float:
        return value * self.gain + self.offset


def digest(given: Analog | Meter | Thermometer, wiring: PiMap) -> str:
    """Of everything that a reading depends on: with another divider, an old calibration is wrong."""
    if isinstance(given, Thermometer):
        text = wiring.probes[given.probe].id
    elif isinstance(given, Meter):
        text = given.model_dump_json() + wiring.chips[given.chip].model_dump_json(
            include={"kind", "address", "shunt_ohm"}
        )
    else:
        what = {"pin", "pins", "divider", "shunt", "hall", "linear", "invert"}
        text = given.model_dump_json(include=what) + wiring.chips[given.chip].model_dump_json(
            include={"kind", "address"}
        )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fit(points: Sequence[tuple[float, float]], wiring: str) -> Calibration:
    """A calibration of one point (offset only) or two.

    Args:
        points: (read without calibration, true), in the channel's unit.
    Raises:
        CalibrationError: the points are too near each other, or a wiring fault or a wrong map is more likely than this.
    """
    now = datetime.now(UTC)
    match points:
        case [(read, true)]:
            return Calibration(gain=1.0, offset=true - read, points=((read, true),), wiring=wiring, at=now)
        case [(read_1, true_1), (read_2, true_2)]:
            apart = abs(true_2 - true_1)
            if apart < LEAST_APART * max(abs(true_1), abs(true_2), 1e-9) or read_1 == read_2:
                raise CalibrationError(f"{true_1:g} and {true_2:g} are too near each other for a calibration")
            gain = (true_2 - true_1) / (read_2 - read_1)
            low, high = GAIN_LIMITS
            if not low <= gain <= high:
                raise CalibrationError(
                    f"a factor of {gain:.3g} would be needed ({low} to {high} are believed): "
                    "check divider, shunt or `invert` in the map"
                )
            kept = ((read_1, true_1), (read_2, true_2))
            return Calibration(gain=gain, offset=true_1 - gain * read_1, points=kept, wiring=wiring, at=now)
    raise CalibrationError(f"expected one point or two, got {len(points)}")


def file_of(wiring: PiMap, path: Path) -> Path:
    """Where the calibrations of the map at `path` are kept."""
    return wiring.calibration or path.with_name("calibration.yaml")


def load(path: Path) -> dict[str, Calibration]:
    """Calibrations by `device/channel`; none where there is no file. Raises ConfigError naming file and key."""
    if not path.exists():
        return {}
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError(str(path), "file", "expected device/channel: {gain: .., offset: ..}")
    found: dict[str, Calibration] = {}
    for key, value in content.items():
        try:
            found[str(key)] = Calibration.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(str(path), ".".join(map(str, (key, *first["loc"]))), first["msg"]) from None
    return found


def save(path: Path, key: str, calibration: Calibration | None) -> None:
    """Keep (None: forget) the calibration of `device/channel`. Atomic: a power cut leaves the old file or the new one.

    Raises:
        ConfigError: the present file cannot be read, or the folder cannot be written.
    """
    kept = load(path)
    if calibration is None:
        kept.pop(key, None)
    else:
        kept[key] = calibration
    text = "# Written by `emberwatch doctor --calibrate`.\n" + yaml.safe_dump(
        {k: c.model_dump(mode="json") for k, c in sorted(kept.items())}, sort_keys=False
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise ConfigError(str(path), "file", error.strerror or str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def fitting(kept: Mapping[str, Calibration], wiring: PiMap, path: Path) -> dict[str, Calibration]:
    """Those that belong to this wiring.

    Raises:
        ConfigError: one was made with another wiring of its channel: wrong readings must not pass for calibrated ones.
    """
    present = {
        f"{name}/{channel}": digest(given, wiring)
        for name, device in wiring.devices.items()
        for channel, given in device.inputs()
    }
    for key, calibration in kept.items():
        if key in present and present[key] != calibration.wiring:
            raise ConfigError(
                str(path), key, "was made with another wiring of this channel: calibrate again, or remove this entry"
            )
    return {key: kept[key] for key in present if key in kept}
